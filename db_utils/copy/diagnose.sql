-- name: columns_of_constraint
SELECT
    string_agg(a.attname, ', ' ORDER BY a.attnum),
    CASE WHEN c.contype = 'c' THEN pg_get_expr(c.conbin, c.conrelid) END
FROM pg_constraint AS c
INNER JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)
WHERE c.conname = %s
GROUP BY c.oid
ORDER BY c.conrelid = to_regclass(%s) DESC, c.oid
LIMIT 1

-- name: malformed
SELECT
    given.position - 1,
    found.message,
    found.sql_error_code
FROM unnest(%s::text[]) WITH ORDINALITY AS given (value, position)
CROSS JOIN LATERAL pg_input_error_info(given.value, %s) AS found
WHERE found.message IS NOT NULL

-- name: reference
SELECT DISTINCT
    quote_ident(n.nspname) || '.' || quote_ident(referenced.relname),
    ARRAY(
        SELECT a.attname::text
        FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
        ORDER BY k.place
    ),
    ARRAY(
        SELECT quote_ident(a.attname)
        FROM unnest(c.confkey) WITH ORDINALITY AS k (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = k.attnum
        ORDER BY k.place
    )
FROM pg_constraint AS c
INNER JOIN pg_class AS referenced ON referenced.oid = c.confrelid
INNER JOIN pg_namespace AS n ON n.oid = referenced.relnamespace
WHERE
    c.conname = %s
    AND c.contype = 'f'
    AND (%s OR c.conrelid = to_regclass(%s))
    AND c.confrelid <> c.conrelid
    AND has_table_privilege(c.confrelid, 'SELECT')
LIMIT 2

-- name: dangling
SELECT given.position - 1
FROM unnest({arrays}) WITH ORDINALITY AS given ({values}, position)
WHERE
    CASE
        WHEN NOT ({valid}) THEN false
        ELSE NOT EXISTS (SELECT FROM {referenced} AS r WHERE {equal})
    END
