"""The contents of `public` as listed in sql/verify.sql and sql/objects.json, from the catalog of a new database.

`python -m tests.support.contract` rewrites both; a test compares them with the database of each edition.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from db_utils import DatabaseManager

SQL = Path(__file__).resolve().parents[2] / "sql"
VERIFY = SQL / "verify.sql"
OBJECTS = SQL / "objects.json"
_WIDTH = 128
_OF_AN_EXTENSION = "EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = %s AND d.deptype IN ('e', 'i'))"

# Objects of one edition (rules in verify.sql check them) and CHECKs created by value_bounds() are left out.
_ITEMS = """
SELECT 'columns' AS label, attname || ' ' || replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz')
    || CASE WHEN attnotnull THEN '!' ELSE '' END || CASE WHEN atthasdef THEN '=' ELSE '' END AS item, attnum AS place
FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'checks', regexp_replace(conname, '^' || %(name)s || '_(.*)_check$', '\\1'), 0 FROM pg_constraint
WHERE conrelid = %(oid)s AND contype = 'c' AND conname !~ 'is_tenants_own_check$'
    AND conname <> ALL (%(bounds)s)
UNION ALL
SELECT 'keys', name, place
FROM (
    SELECT substr(conname, length(%(name)s) + 2), position(contype::text IN 'puxf') FROM pg_constraint
    WHERE conrelid = %(oid)s AND contype IN ('p', 'u', 'f', 'x')
    UNION
    SELECT substr(c.relname, length(%(name)s) + 2), 5 FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = %(oid)s AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
) AS k (name, place)
WHERE name NOT IN ('time_idx', 'organization_id_hour_idx')
UNION ALL
SELECT 'triggers', substr(tgname, length(%(name)s) + 2), 0 FROM pg_trigger
WHERE tgrelid = %(oid)s AND NOT tgisinternal AND tgname <> 'ts_insert_blocker'
ORDER BY label, place, item
"""


def relations(db: DatabaseManager) -> list[tuple[str, int, str]]:
    """Kind, oid and name of each table and view, in order of creation."""
    rows = db.execute_query(
        "SELECT CASE relkind WHEN 'v' THEN 'view' ELSE 'table' END AS kind, oid::bigint, relname FROM pg_class AS c "
        f"WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND NOT {_OF_AN_EXTENSION % 'c.oid'} ORDER BY relkind, oid"
    )
    return [(row["kind"], row["oid"], row["relname"]) for row in rows]


def functions(db: DatabaseManager) -> list[str]:
    """Functions and procedures with their arguments, by name."""
    rows = db.execute_query(
        "SELECT replace(p.oid::regprocedure::text, 'timestamp with time zone', 'timestamptz') AS name FROM pg_proc AS p "
        "WHERE p.pronamespace = 'public'::regnamespace AND p.proname <> 'time_bucket' "
        f"AND NOT {_OF_AN_EXTENSION % 'p.oid'} ORDER BY p.proname, 1"
    )
    return [row["name"] for row in rows]


def _paragraph(db: DatabaseManager, bounds: list[str], kind: str, oid: int, name: str) -> str:
    lines = [f"{kind} {name}"]
    items = db.execute_query(_ITEMS, {"oid": oid, "name": name, "bounds": bounds})
    for label in ("columns", "checks", "keys", "triggers"):
        line = f"    {label:9}"
        for item in (row["item"] for row in items if row["label"] == label):
            if len(line) + len(item) > _WIDTH:
                lines.append(line.rstrip())
                line = " " * 13
            line += f"{item}, "
        if line.strip() != label:
            lines.append(line.rstrip(", "))
    return "\n".join(lines)


def verify_file(db: DatabaseManager) -> str:
    """The required text of sql/verify.sql, given its current text."""
    text = VERIFY.read_text(encoding="utf-8")
    bounds = [row["check_name"] for row in db.execute_query("SELECT check_name FROM value_bounds()")]
    paragraphs = "\n\n".join(_paragraph(db, bounds, *relation) for relation in relations(db))
    signatures = ",\n".join(f"        '{name}'" for name in functions(db))
    for pattern, content in (
        (r"(?<=contract CONSTANT text := \$contract\$\n).*?(?=\n\$contract\$;)", paragraphs),
        (r"(?<=functions CONSTANT text\[\] := ARRAY\[\n).*?(?=\n    \];)", signatures),
    ):
        text, count = re.subn(pattern, lambda _, content=content: content, text, count=1, flags=re.DOTALL)
        assert count == 1, pattern
    return text


def types(db: DatabaseManager) -> list[str]:
    """Composite and range types."""
    rows = db.execute_query(
        "SELECT t.typname AS name FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid "
        "WHERE t.typnamespace = 'public'::regnamespace AND (t.typtype = 'r' OR c.relkind = 'c') "
        f"AND NOT {_OF_AN_EXTENSION % 't.oid'} ORDER BY t.typname"
    )
    return [row["name"] for row in rows]


def objects_file(db: DatabaseManager) -> str:
    """The required text of sql/objects.json."""
    found = {
        "relations": [name for _, _, name in relations(db)],
        "functions": sorted({name.split("(")[0] for name in functions(db)} | {"time_bucket"}),
        "types": types(db),
    }
    return json.dumps(found, indent=1) + "\n"


if __name__ == "__main__":
    with DatabaseManager.embedded() as database:
        VERIFY.write_text(verify_file(database), encoding="utf-8")
        OBJECTS.write_text(objects_file(database), encoding="utf-8")
