-- name: refuse_repeats
DELETE FROM {stage} AS s
USING (
    SELECT {key}, min({line}) AS first_line, max({line}) AS last_line, count(*) AS number
    FROM {stage}
    WHERE {told}
    GROUP BY {key}
    HAVING count(*) > 1
) AS r
WHERE {same}
RETURNING s.{line}, r.first_line, r.last_line, r.number

-- name: add_up
WITH added AS (
    SELECT {key}, min({line}) AS first_line, {totals}
    FROM {stage} AS s
    GROUP BY {key}
    HAVING count(*) > 1{agree}
), gone AS (
    DELETE FROM {stage} AS s USING added AS a WHERE {same} AND s.{line} > a.first_line RETURNING 1
), kept AS (
    UPDATE {stage} AS s SET {changes} FROM added AS a WHERE s.{line} = a.first_line RETURNING 1
)
SELECT count(*) FROM gone

-- name: recognize_corrected
WITH lost AS (
    SELECT {own_key}, s.{id}, {own_about} AS about, count(*) OVER (PARTITION BY {own_key}, {own_about}) AS number
    FROM {stage} AS s
    WHERE NOT EXISTS (SELECT FROM {target} AS t WHERE {same})
), there AS (
    SELECT {key}, t.{id}, {about} AS about, count(*) OVER (PARTITION BY {key}, {about}) AS number
    FROM {target} AS t
    WHERE ({key}) IN (SELECT {lost_key} FROM lost AS l)
        AND NOT EXISTS (SELECT FROM {stage} AS o WHERE {other})
)
UPDATE {target} AS t
SET {id} = l.{id}
FROM lost AS l
INNER JOIN there AS h ON {pair} AND h.about = l.about
WHERE l.number = 1 AND h.number = 1 AND h.{id}::text LIKE '______________8%' AND {found} AND t.{id} = h.{id}

-- name: refuse_strays
DELETE FROM {stage} AS s
WHERE NOT EXISTS (SELECT FROM {target} AS t WHERE {same})
    AND EXISTS (
        SELECT FROM {target} AS t
        WHERE t.organization_id = s.organization_id AND NOT EXISTS (SELECT FROM {stage} AS o WHERE {other})
    )
RETURNING s.{line}

-- name: refuse_moved
DELETE FROM {stage} AS s USING {target} AS t WHERE {same} AND {told} AND t.time <> s.time
RETURNING s.{line}, t.time

-- name: moved
WITH gone AS (
    DELETE FROM {target} AS t USING {stage} AS s WHERE {same} AND {told} AND t.time <> s.time
    RETURNING t.*, s.time AS new_time, s.{line}, ({differs}) AS will_change
), moved AS (
    INSERT INTO {target} ({columns}) SELECT {kept} FROM gone AS g ON CONFLICT DO NOTHING
)
SELECT g.{line}, g.time, g.will_change FROM gone AS g
