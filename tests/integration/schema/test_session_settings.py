"""No figure depends on session settings: every function of an organization, every view and every prebuilt read is compared.

Each result is stored in a temporary table under unusual settings and read under the usual ones, so that a difference is in the
result and not in its formatting.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from tests.support.query_calls import READ_CASES, READ_IDS, Facts, find_facts, read

pytestmark = pytest.mark.slow

USUAL = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "search_path": '"$user", public',
}
ODD = [
    {"TimeZone": "Asia/Kolkata", "DateStyle": "German"},
    {"TimeZone": "America/Santiago", "IntervalStyle": "sql_standard"},
    {"TimeZone": "Pacific/Apia", "DateStyle": "SQL, DMY", "IntervalStyle": "iso_8601"},
    {"TimeZone": "Atlantic/Azores", "search_path": "pg_temp, public, pg_catalog"},
    {"TimeZone": "Australia/Lord_Howe", "DateStyle": "Postgres, DMY", "IntervalStyle": "postgres_verbose"},
]

# Functions that take an organization but are not reads, and those that use the session's midnight on purpose.
NO_QUESTIONS = {
    "change_resource",
    "change_employee",
    "change_location",
    "employment_start",
}
SESSIONS_MIDNIGHT = {("employee_attendance_rate", "month")}


class Odd:
    """Behaves like the database, with each query under the given settings."""

    def __init__(self, db: Any, settings: dict[str, str]) -> None:
        self._db, self._settings = db, settings

    def _set(self, settings: dict[str, str]) -> None:
        for name, value in settings.items():
            self._db.execute("SELECT set_config(%s, %s, true)", (name, value))

    def execute_query(self, sql: str, params: Any = None, **_: Any) -> list[dict[str, Any]]:
        self._set(self._settings)
        self._db.execute(f"CREATE TEMP TABLE answer ON COMMIT DROP AS {sql.rstrip().rstrip(';')}", params)
        self._set(USUAL)
        rows: list[dict[str, Any]] = self._db.execute_query("SELECT * FROM pg_temp.answer")
        self._db.execute("DROP TABLE pg_temp.answer")
        return rows

    @contextmanager
    def transaction(self) -> Iterator[Odd]:
        yield self


def both(db: DatabaseManager, ask: Any, odd: dict[str, str]) -> tuple[Any, Any]:
    """The answers under usual and unusual settings, from one snapshot at one time."""
    with db.transaction() as transaction:
        return ask(Odd(transaction, USUAL)), ask(Odd(transaction, odd))


@pytest.fixture(scope="module")
def facts(seeded: DatabaseManager) -> Facts:
    return find_facts(seeded)


def names(odd: dict[str, str]) -> str:
    return odd["TimeZone"]


@pytest.mark.parametrize("odd", ODD, ids=names)
@pytest.mark.parametrize(("name", "index"), READ_CASES, ids=READ_IDS)
def test_a_prebuilt_read_answers_the_same(
    seeded: DatabaseManager, facts: Facts, name: str, index: int, odd: dict[str, str]
) -> None:
    def ask(db: Any) -> Any:
        answer = read(OperationalDataQueries(db), facts, name, index)
        return getattr(answer, "value", answer)  # of cached answers, because their age changes

    usual, other = both(seeded, ask, odd)
    assert other == usual


@pytest.mark.parametrize("odd", ODD, ids=names)
def test_every_function_of_an_organization_answers_the_same(
    seeded: DatabaseManager, facts: Facts, odd: dict[str, str]
) -> None:
    functions = seeded.execute_query(
        "SELECT p.proname AS name, p.pronargs - p.pronargdefaults AS needed, "
        "ARRAY(SELECT t.type::regtype::text FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, n) ORDER BY t.n) AS types, "
        "p.oid::regprocedure::text AS signature "
        "FROM pg_proc AS p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f' AND p.provolatile <> 'v' "
        "AND p.prolang IN (SELECT l.oid FROM pg_language AS l WHERE l.lanname IN ('sql', 'plpgsql')) "
        "AND p.proargtypes[0] = 'uuid'::regtype AND p.prorettype <> 'trigger'::regtype "
        "AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') ORDER BY 4"
    )
    compared = rows = 0
    for function in functions:
        if function["name"] in NO_QUESTIONS:
            continue
        kinds = function["types"][: function["needed"]]
        values: dict[str, list[Any]] = {
            "uuid": [facts.organization_id, facts.location_id],
            "uuid[]": [[facts.location_id]],
            "integer[]": [[1]],
            "timestamp with time zone[]": [[facts.month_ago], [facts.end]],
            "interval": [dt.timedelta(minutes=5)],
            "tstzmultirange": ["{}"],  # nothing is stored: everything is computed
            "text[]": [None],
            "text": ["organization" if function["name"] == "time_kpis" else "day"],
            "timestamp with time zone": [facts.month_ago, facts.end],
            "date": [facts.today - dt.timedelta(days=20), facts.today],
            "integer": [9],
        }
        arguments = [
            values[kind][kinds[:place].count(kind) % len(values[kind])] for place, kind in enumerate(kinds)
        ]
        call = ", ".join(f"%s::{kind}" for kind in kinds)
        usual, other = both(
            seeded,
            lambda db, f=function["name"], c=call, a=arguments: db.execute_query(
                f"SELECT * FROM {f}({c}) AS f", a
            ),
            odd,
        )
        assert other == usual, function["signature"]
        compared, rows = compared + 1, rows + len(usual)
    print(f"{compared} functions, {rows} rows")
    assert compared >= 10
    assert rows > 100


@pytest.mark.parametrize("odd", ODD, ids=names)
def test_every_view_answers_the_same(seeded: DatabaseManager, facts: Facts, odd: dict[str, str]) -> None:
    views = seeded.execute_query(
        "SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns FROM pg_class AS c "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' "
        "AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') "
        "GROUP BY c.oid HAVING bool_or(a.attname = 'organization_id') ORDER BY 1"
    )
    assert len(views) > 8
    for view in views:
        columns = ", ".join(
            f"v.{column} AT TIME ZONE current_setting('TimeZone') AS {column}"
            if (view["name"], column) in SESSIONS_MIDNIGHT
            else f"v.{column}"
            for column in view["columns"]
        )
        statement = f"SELECT {columns} FROM {view['name']} AS v WHERE v.organization_id = %s"
        usual, other = both(
            seeded, lambda db, s=statement: db.execute_query(s, (facts.organization_id,)), odd
        )

        def in_order(rows: list[dict[str, Any]]) -> list[str]:
            return sorted(repr(row) for row in rows)

        assert in_order(other) == in_order(usual), view["name"]
