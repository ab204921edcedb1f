-- name: derive
UPDATE {stage} AS s
SET {column} = overlay(
        overlay(named.digest PLACING '8' FROM 13 FOR 1)
        PLACING substr('89ab', 1 + (('x' || substr(named.digest, 17, 1))::bit(4)::int & 3), 1) FROM 17 FOR 1
    )::uuid
FROM (
    SELECT
        {line},
        left(
            encode(
                sha256(
                    convert_to(
                        concat_ws(
                            '|', {table}, organization_id, content,
                            row_number() OVER (PARTITION BY organization_id, content ORDER BY {line})
                        ),
                        'UTF8'
                    )
                ),
                'hex'
            ),
            32
        ) AS digest
    FROM (SELECT {line}, organization_id, {content} AS content FROM {stage}) AS contents
) AS named
WHERE named.{line} = s.{line}

-- name: insert
WITH done AS (
    INSERT INTO {} AS t ({}) SELECT {} FROM {} AS s WHERE {} ON CONFLICT ({}) {} RETURNING t.xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM done
