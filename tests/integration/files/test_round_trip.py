"""An export can be imported again, from every table and in every format, with equal rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from db_utils import DatabaseManager
from db_utils.files import ExportOptions, ImportOptions, export_relation, import_files
from db_utils.files.options import Format

# Each after the tables that it references.
TABLES = (
    "organizations",
    "locations",
    "resources",
    "employees",
    "shifts",
    "shift_assignments",
    "production_plans",
    "operational_events",
    "demand_history",
    "resource_metrics",
    "employee_attendance",
    "demand_forecasts",
    "anomaly_predictions",
    "absence_forecasts",
    "external_factors",
    "optimization_runs",
    "alerts",
)
LARGE = ("operational_events", "resource_metrics")  # the last hours of these are enough
KEPT = ("recorded_at", "updated_at", "notification_key")
ENDINGS = {
    "csv": "csv",
    "csv.gz": "csv",
    "jsonl": "jsonl",
    "jsonl.gz": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
}


def contents(db: DatabaseManager, table: str, start: dt.datetime | None = None) -> list[Any]:
    """All rows without the columns maintained by the database, as written by the server, numbers without trailing zeros."""
    period = "true" if start is None else f"time >= '{start.isoformat()}'"
    rows = db.execute_query(
        f"SELECT to_jsonb(t) - %s::text[] AS row FROM {table} AS t WHERE {period}", (list(KEPT),)
    )
    return sorted((_normal(row["row"]) for row in rows), key=repr)


def newest(db: DatabaseManager, table: str) -> dt.datetime:
    moment: dt.datetime = db.execute_query(f"SELECT max(time) AS newest FROM {table}")[0]["newest"]
    return moment


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _normal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return (
        Decimal(str(value)).normalize()
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
        else value
    )


@pytest.mark.parametrize(
    "ending",
    [pytest.param(name, marks=() if name in ("csv", "parquet") else pytest.mark.slow) for name in ENDINGS],
)
def test_every_table_comes_back_equal(
    seeded: DatabaseManager, empty_database: DatabaseManager, tmp_path: Path, ending: str
) -> None:
    for table in TABLES:
        start = newest(seeded, table) - dt.timedelta(hours=3) if table in LARGE else None
        file = tmp_path / f"{table}.{ending}"
        # In CSV an empty text and a missing value differ only with a null text.
        exported = export_relation(
            seeded, table, file, organization=None, start=start, options=ExportOptions(null=r"\N")
        )
        options = ImportOptions(null=r"\N")
        imported = import_files(empty_database, [file], table, organization=None, options=options)
        assert imported.first_rejects == []
        assert (imported.read, imported.added) == (exported.rows, exported.rows), table
        assert exported.rows > 0, table
        assert contents(empty_database, table) == contents(seeded, table, start), table
        again = import_files(empty_database, [file], table, organization=None, options=options)
        assert (again.added, again.already_there, again.different) == (0, exported.rows, 0), table


ODD = (
    Decimal("0.10"),
    Decimal("123456789012345.000000000001"),
    Decimal("1E-12"),
    Decimal("3.14159265358979323846264338327950288"),
)


@pytest.mark.thorough
@pytest.mark.parametrize("ending", ENDINGS)
def test_odd_values_are_exact(empty_database: DatabaseManager, tmp_path: Path, ending: str) -> None:
    db = empty_database
    organization = db.execute_query(
        "INSERT INTO organizations (name, industry) VALUES ('Été, \"quoted\"', 'x') RETURNING organization_id"
    )[0]["organization_id"]
    place = db.execute_query(
        "INSERT INTO locations (organization_id, name, location_type, address, metadata) VALUES (%s, %s, 'store', '', %s::jsonb) "
        "RETURNING location_id",
        (
            organization,
            'a;b,c\td"e\nf\\g|ü€😀',
            '{"n": 1.10, "big": 12345678901234567890.123, "s": "\\n\\"", "l": [null, true]}',
        ),
    )[0]["location_id"]
    db.execute(
        "INSERT INTO employees (organization_id, location_id, employee_code, full_name, role, skills) VALUES "
        "(%s, %s, 'é', 'x', 'y', %s)",
        (organization, place, ["a,b", 'c"d', "e\\f", "{g}", "", "NULL", "h\ni"]),
    )
    moment = dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, dt.UTC)
    db.copy_rows(
        "demand_history",
        ["organization_id", "time", "product_id", "location_id", "quantity"],
        [(organization, moment + dt.timedelta(days=n), "NULL", place, value) for n, value in enumerate(ODD)],
    )
    tables = ("locations", "employees", "demand_history")
    digits = "SELECT time, quantity::text AS quantity FROM demand_history ORDER BY 1"
    before = db.execute_query(digits)
    values = {table: contents(db, table) for table in tables}
    options = ExportOptions(null=r"\N")
    for table in tables:
        export_relation(
            db, table, tmp_path / f"{table}.{ending}", organization=str(organization), options=options
        )
    for table in reversed(tables):
        db.execute(f"DELETE FROM {table}")
    for table in tables:
        file = tmp_path / f"{table}.{ending}"
        result = import_files(
            db, [file], table, organization=str(organization), options=ImportOptions(null=r"\N")
        )
        assert result.first_rejects == []
        assert contents(db, table) == values[table]
        if table == "demand_history" and ENDINGS[ending] in ("csv", "jsonl"):
            # There the digits are kept, including trailing zeros.
            assert db.execute_query(digits) == before


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_no_rows_are_a_file_that_can_be_imported(
    empty_database: DatabaseManager, tmp_path: Path, kind: Format
) -> None:
    file = tmp_path / f"none.{kind}"
    assert export_relation(empty_database, "alerts", file, organization=None).rows == 0
    if kind == "jsonl":
        assert file.read_bytes() == b""
        return
    assert import_files(empty_database, [file], "alerts", organization=None).read == 0
