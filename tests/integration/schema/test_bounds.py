"""Every value that reaches shared structures has a bound: indexes, rollups and the columnstore can hold every accepted value."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from db_utils import DatabaseManager, schema
from db_utils.errors import CheckViolationError, InvalidDataError
from tests.integration.doctor.support import ailment, well
from tests.support.wrong_rows import LOCATION, OURS, RIGHT, insert

SIZED = ("text", "text[]", "uuid[]", "jsonb")
CHANCES = random.Random(7)
# Their CHECKs accept only texts of a shorter form.
OF_A_FORM = (
    "location_type",
    "event_type",
    "timezone",
    "connector",
    "kind",
    "task",
    "consumer",
    "kinds",
    "prefix",
    "secret_sha256",
)


def wide(characters: int) -> str:
    """A unique text with four bytes per character."""
    return "".join(chr(CHANCES.randrange(0x20000, 0x2A000)) for _ in range(characters))


def at_edge(type_name: str, rule: str) -> Any:
    """The largest value that this rule accepts."""
    most = int(rule.split("_")[2]) if rule.startswith("at_most") else 0
    if type_name == "text":
        return wide(most)
    if type_name == "text[]":
        return [wide(most // 4)]
    if type_name == "uuid[]":
        return [UUID(int=n) for n in range(most)]
    if type_name == "jsonb":
        return '{"x": "' + "y" * (most - 9) + '"}'
    if type_name == "numeric":
        return Decimal("9" * 15 + "." + "9" * 100)
    if type_name == "interval":
        return "10 years"
    if rule == "readable_check":
        return "9999-12-30"
    return datetime(2000, 1, 1, tzinfo=UTC)


def beyond(type_name: str, value: Any) -> list[Any]:
    """Values just beyond the limit, and far beyond it."""
    if type_name == "text":
        return [value + "x", "x" * 1_000_000]
    if type_name == "text[]":
        return [[*value, "x"], [None] * 1_001, [["x"], ["y"]]]
    if type_name == "uuid[]":
        return [[*value, UUID(int=0)], [None] * 1_001, [[UUID(int=0)], [UUID(int=1)]]]
    if type_name == "jsonb":
        digits = '{"x": [' + ", ".join(["9e131071"] * 80) + "]}"  # a kilobyte that is 10 MB when written out
        return [
            value.replace("y", "yy", 1),
            digits,
            '{"x": "' + "0" * 10_500_000 + '"}',
            *('{"x": ' + "[" * depth + "]" * depth + "}" for depth in (101, 5_000)),
            *('{"x": [{"y": ' + sign + "9" * 4_300 + "}]}" for sign in ("", "-")),
        ]
    if type_name == "numeric":
        return [
            Decimal(10) ** 15,
            -(Decimal(10) ** 15),
            Decimal("NaN"),
            Decimal("Infinity"),
            Decimal("1e-101"),
        ]
    if type_name == "interval":
        return ["10 years 1 second", "100000000 years"]
    if isinstance(value, str):
        return ["9999-12-31", "20000-01-01", "0001-01-01", "0044-03-15 BC"]
    return [datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)]


def bounds(db: DatabaseManager) -> list[dict[str, Any]]:
    return db.execute_query(
        """
        SELECT
            b.table_name,
            b.column_name,
            b.check_name,
            b.condition,
            format_type(a.atttypid, NULL) AS type_name,
            substr(b.check_name, length(b.table_name || b.column_name) + 3) AS rule
        FROM value_bounds() AS b
        JOIN pg_attribute AS a ON a.attrelid = b.table_name::regclass AND a.attname = b.column_name
        """
    )


def test_every_column_that_can_be_large_has_a_bound(empty_database: DatabaseManager) -> None:
    """Derived from the catalog: a new column without a bound fails here."""
    columns = empty_database.execute_query(
        """
        SELECT c.relname || '.' || a.attname AS name, ARRAY(
            SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k
            WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]
        ) AS checks
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type AS t ON t.oid = a.atttypid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            -- Sums of what is bounded are the database's own.
            AND c.relname <> 'tenant_logins' AND c.relname !~ '^resource_time_'
            AND EXISTS (SELECT FROM pg_attribute AS o WHERE o.attrelid = c.oid AND o.attname = 'organization_id')
            AND (t.typlen < 0 OR t.typname IN ('float4', 'float8', 'timestamptz', 'timestamp', 'date', 'interval'))
        ORDER BY 1
        """
    )
    told = (
        "octet_length(",
        "cardinality(",
        "char_length(",
        "abs(",
        "= ANY (ARRAY[",
        "9999-12-31",
        ">= '2000-01-01",
        "10 years",
    )
    assert len(columns) > 100
    assert [
        c["name"] for c in columns if not any(word in check for check in c["checks"] for word in told)
    ] == []


def test_every_expression_in_an_index_has_a_bound(empty_database: DatabaseManager) -> None:
    """Values inside JSON are bounded by the column. Ranges of fixed-size types are small too."""
    expressions = empty_database.execute_query(
        """
        SELECT c.relname || ': ' || k.expression AS name, ARRAY(
            SELECT pg_get_constraintdef(t.oid, true) FROM pg_constraint AS t
            WHERE t.conrelid = i.indrelid AND t.contype = 'c'
        ) AS checks, k.expression
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace
        JOIN pg_attribute AS a ON a.attrelid = i.indexrelid AND i.indkey[a.attnum - 1] = 0
        JOIN pg_type AS y ON y.oid = a.atttypid
        CROSS JOIN LATERAL (
            SELECT trim(both '()' FROM pg_get_indexdef(i.indexrelid, a.attnum, true)) AS expression
        ) AS k
        WHERE y.typlen < 0 AND y.typtype <> 'r'
        """
    )
    assert "forecast_models: config ->> 'target'::text" in [e["name"] for e in expressions]
    assert [
        e["name"] for e in expressions if not any(f"char_length({e['expression']})" in c for c in e["checks"])
    ] == []


def test_each_bound_is_where_its_name_says(empty_database: DatabaseManager) -> None:
    asked = set()
    for bound in bounds(empty_database):
        same = re.sub(rf"\b{bound['column_name']}\b", "it", bound["condition"])
        if (key := (bound["type_name"], bound["rule"], same)) in asked:
            continue  # identical to another column's
        asked.add(key)
        edge = at_edge(bound["type_name"], bound["rule"])
        sql = f'SELECT {bound["condition"]} AS held FROM (SELECT CAST(%s AS {bound["type_name"]})) AS v ("{bound["column_name"]}")'
        for value, held in [(edge, True), (None, None)] + [
            (one, False) for one in beyond(bound["type_name"], edge)
        ]:
            found = empty_database.execute_query(sql, (value,))
            assert found == [{"held": held}], (bound["check_name"], str(value)[:40])
    assert len(asked) >= 10


@pytest.mark.thorough
def test_the_largest_rows_fit_everything_shared(two_organizations: DatabaseManager) -> None:
    """Indexes, rollups and columnstore can hold a row with the longest texts and largest numbers."""
    db = two_organizations
    by_table: dict[str, dict[str, Any]] = {}
    for bound in bounds(db):
        if bound["type_name"] in SIZED and bound["column_name"] not in OF_A_FORM:
            by_table.setdefault(bound["table_name"], {})[bound["column_name"]] = at_edge(
                bound["type_name"], bound["rule"]
            )
    model = {name: by_table["forecast_models"][name] for name in ("model_name", "model_version")}
    for table, row in RIGHT.items():
        largest = by_table.get(table, {})
        if table == "absence_forecasts":
            largest = {**largest, "expected_absences": row.get("expected_absences")}
        if table == "forecast_backtests":  # of an existing model; a product is given with its location
            largest = {**largest, **model, "location_id": LOCATION}
        insert(db, table, {**row, **{name: value for name, value in largest.items() if value is not None}})
    cause = by_table["operational_events"]["cause"]
    for n in range(2):
        event = {**RIGHT["operational_events"], "event_type": "production", "cause": cause}
        insert(
            db,
            "operational_events",
            {
                **event,
                "quantity": Decimal(10) ** 15 - 1,
                "event_id": f"00000000-0000-4000-8000-00000000000{n}",
            },
        )
    if db.execute_query("SELECT database_edition() AS e")[0]["e"] == "community":
        with db.connection() as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CALL refresh_rollups()")
                cursor.execute("SELECT compress_chunk(show_chunks('operational_events'))")
                cursor.execute("SELECT compress_chunk(show_chunks('operational_events_hourly'))")
    rows = db.execute_query(
        "SELECT sum(quantity) AS quantity FROM operational_events_daily WHERE cause = %s", (cause,)
    )
    assert rows == [{"quantity": 2 * (Decimal(10) ** 15 - 1)}]


def test_what_fits_can_be_read(two_organizations: DatabaseManager) -> None:
    """In Python, which has its own limits for the depth of JSON and the length of numbers."""
    for metadata in ('{"x": ' + "[" * 100 + "]" * 100 + "}", '{"x": ' + "9" * 4_299 + ', "y": 1e4000}'):
        insert(two_organizations, "alerts", {**RIGHT["alerts"], "metadata": metadata})
        assert two_organizations.execute_query("SELECT metadata FROM alerts")
    for value in (f"'{'[' * 2_000}{']' * 2_000}'::jsonb", f"'{'9' * 5_000}'::jsonb"):
        with pytest.raises(InvalidDataError, match="convert it in SQL"):
            two_organizations.execute_query(f"SELECT {value} AS value")


def test_a_refusal_says_the_bound(two_organizations: DatabaseManager) -> None:
    with pytest.raises(CheckViolationError) as refused:
        insert(two_organizations, "operational_events", {**RIGHT["operational_events"], "cause": "x" * 4433})
    assert refused.value.constraint == "operational_events_cause_at_most_400_chars_check"
    with pytest.raises(CheckViolationError) as refused:
        insert(
            two_organizations,
            "demand_history",
            {**RIGHT["demand_history"], "quantity": Decimal(9) * Decimal(10) ** 131071},
        )
    assert refused.value.constraint == "demand_history_quantity_within_1e15_check"
    with pytest.raises(CheckViolationError) as refused:
        insert(two_organizations, "alerts", {**RIGHT["alerts"], "created_at": "0044-03-15 00:00+00 BC"})
    assert refused.value.constraint == "alerts_created_at_readable_check"


def test_an_upgrade_names_rows_from_before(two_organizations: DatabaseManager) -> None:
    """They do not stop it, new rows are checked at once, and after correcting them everything is valid."""
    db = two_organizations
    name = "operational_events_cause_at_most_400_chars_check"
    db.execute(f"ALTER TABLE operational_events DROP CONSTRAINT {name}")
    long_one = {**RIGHT["operational_events"], "cause": "x" * 500}
    insert(db, "operational_events", long_one)
    schema.apply(db)
    (found,) = db.execute_query("SELECT * FROM rows_beyond_bounds()")
    assert (found["table_name"], found["check_name"], found["row_count"]) == ("operational_events", name, 1)
    assert str(OURS) in found["examples"][0]
    finding = ailment(db.settings.database_url, "rows-beyond-bounds")
    assert name in finding.found
    assert str(OURS) in finding.found
    with pytest.raises(CheckViolationError):
        insert(db, "operational_events", long_one)
    db.execute("UPDATE operational_events SET cause = left(cause, 400)")
    schema.apply(db)
    assert db.execute_query("SELECT * FROM rows_beyond_bounds()") == []
    assert well(db.settings.database_url, "rows-beyond-bounds")
    unproved = (
        "SELECT conname FROM pg_constraint WHERE conname = %s AND NOT convalidated "
        "AND conrelid = 'operational_events'::regclass AND obj_description(oid, 'pg_constraint') IS NULL"
    )
    assert db.execute_query(unproved, (name,)) == []
