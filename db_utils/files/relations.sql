-- name: columns
SELECT
    a.attname,
    a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: constraints
SELECT
    c.conname,
    c.contype,
    pg_get_constraintdef(c.oid),
    ARRAY(
        SELECT a.attname::text
        FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
        ORDER BY k.place
    )
FROM pg_constraint AS c
WHERE c.conrelid = to_regclass(%s)
ORDER BY c.contype <> 'p', c.conname
