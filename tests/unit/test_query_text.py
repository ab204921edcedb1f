"""The query files keep the house rules, and blocks, methods and catalogue hold together."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from db_utils import OperationalDataQueries
from db_utils import queries as package
from db_utils.queries import catalogue, runner
from db_utils.queries.catalogue import reads
from db_utils.queries.loader import Query, queries
from db_utils.sql_text import HARMLESS_FUNCTIONS, shape
from tests.support.query_calls import public_methods

BLOCKS = list(queries().values())
NAMES = [block.name for block in BLOCKS]
BUCKETS = ("_hour", "_day")

# Helper blocks for methods with other names.
HELPERS = {
    "check_organization",
    "check_assignment",
    "check_production_plan",
    "check_demand_forecasts",
    "check_anomaly_prediction",
    "check_anomaly_predictions",
    "check_absence_forecasts",
    "check_external_factors",
    "check_optimization_run",
    "check_locations",
    "check_schedule_proposal",
    "save_schedule_proposal_items",
    "check_alert",
    "find_local_today",
    "find_newest_anomaly_run",
    "list_local_days",
    "step_down_champion",
    "get_events_at_other_times",
    "remove_event",
    "remove_moved_attendance",
    "find_local_day_start",
    "find_codes",
    "find_codes_like",
    "find_organizations_named",
    "find_shift",
    "lock_organization_name",
}

# Methods without a block of the same name: the one for a single event, and those that read through the cache.
ALIASES = {
    "get_or_create_organization": "create_organization",
    "get_or_create_location": "create_location",
    "get_or_create_resource": "create_resource",
    "get_or_create_employee": "create_employee",
    "get_or_create_shift": "create_shift",
    "record_event": "record_events",
    "get_cached_demand_forecast": "get_current_demand_forecasts",
    "get_cached_anomaly_predictions": "get_active_anomaly_predictions",
    "get_cached_absence_forecast": "get_current_absence_forecasts",
    "get_cached_employee_absence_forecast": "get_current_absence_forecasts",
}

# The only ones that do not need an existing organization.
WITHOUT_ORGANIZATION = {"get_organizations", "find_organizations_named", "lock_organization_name"}

REFERENCE = re.compile(
    r"(?<!DISTINCT )(?<!epoch )\b(?:FROM|JOIN)\s+(?:LATERAL\s+)?([a-z_]+)(?:\s+AS\s+([a-z]+))?"
)


def named_in_code() -> set[str]:
    """Every string in the package that is a block's name, with f-strings of a bucket resolved."""
    found: set[str] = set()
    for file in Path(inspect.getfile(package)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
                found.update(f"{node.value.removesuffix('_')}{bucket}" for bucket in BUCKETS)
    return found


def blocks_of(method: str) -> set[str]:
    name = ALIASES.get(method, method)
    return {block for block in NAMES if block == name or block in {f"{name}{bucket}" for bucket in BUCKETS}}


def test_every_method_has_its_block_and_every_block_its_method() -> None:
    assert [method for method in public_methods() if not blocks_of(method)] == []
    served = {block for method in public_methods() for block in blocks_of(method)}
    assert set(NAMES) == served | HELPERS
    assert set(NAMES) - {"list_local_days"} <= named_in_code()  # which is for ad hoc statements


def test_a_block_stands_in_the_file_of_its_methods_module() -> None:
    for entry in catalogue.entries():
        topics = {queries()[block].topic for block in blocks_of(entry.name)}
        if entry.topic != "cached_predictions":
            assert topics == {entry.topic}, entry.name


@pytest.mark.parametrize("method", public_methods())
def test_a_block_and_its_method_ask_the_same_question(method: str) -> None:
    question = (inspect.getdoc(getattr(OperationalDataQueries, method)) or "").partition("\n")[0]
    assert question.endswith("?" if reads(method) else ".")
    if method in ALIASES:
        return
    for block in blocks_of(method):
        asked = re.sub(r" \(.*?\)\?$", "?", queries()[block].question)
        if block == method:
            assert asked == question
        else:
            assert asked.partition(",")[0] == question.partition(",")[0]


def test_the_catalogue_has_every_method_once_with_its_question() -> None:
    entries = list(catalogue.entries())
    assert sorted(entry.name for entry in entries) == public_methods()
    text = catalogue.markdown()
    for entry in entries:
        assert text.count(f"`{entry.name}(") == 1
        assert f"{entry.question}" in text
        assert entry.writes == any(queries()[block].writes for block in blocks_of(entry.name))
    assert all(line.count("|") == 4 for line in text.splitlines())


@pytest.mark.parametrize("block", BLOCKS, ids=NAMES)
def test_house_rules(block: Query) -> None:
    words = block.sql
    assert not re.search(r"(SELECT|RETURNING|,)\s+([a-z]\.)?\*", words), "names its columns"
    assert "public." not in words, "bare names mean the tenant's own rows in a tenant's scope"
    assert "%(organization_id)s" in words or block.name in WITHOUT_ORGANIZATION
    assert not re.search(r"\b(select|from|where|join|order|group|limit|insert|update|values)\b", words)
    assert not re.search(r"(?<!ROWS )(?<!GROUPS )\bBETWEEN\b", words), "periods are half-open"
    assert "\t" not in words
    assert max(map(len, words.splitlines())) <= 120
    if not block.writes:
        assert shape(words).looks_read_only
    if "LIMIT" in words:
        assert "ORDER BY" in words.partition("LIMIT")[0] or "LIMIT 1\n" in words


@pytest.mark.parametrize("block", BLOCKS, ids=NAMES)
def test_every_table_is_restricted_to_the_organization(block: Query) -> None:
    """Directly, or by a join on organization_id."""
    ctes = set(re.findall(r"\b([a-z_]+) AS (?:MATERIALIZED )?\(", block.sql))
    for table, alias in REFERENCE.findall(block.sql):
        if table in ctes or table in (
            "generate_series", "unnest", "jsonb_to_recordset", "date_add", "local_bucket_edges",
        ):  # fmt: skip
            continue
        if re.search(rf"\b{table}\(\s*%\(organization_id\)s", block.sql):
            continue  # a function of the organization
        if block.name in WITHOUT_ORGANIZATION:
            continue
        assert alias, f"{table} has a short name"
        assert re.search(rf"\b{alias}\.organization_id = ", block.sql), table


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.name.startswith(("get_", "list_"))], ids=lambda b: b.name
)
def test_many_rows_come_in_an_order_with_a_tie_breaker(block: Query) -> None:
    if block.name == "get_organization":
        return
    order = block.sql.rpartition("ORDER BY")[2].split()
    assert order, "is ordered"
    last = " ".join(order).split(" LIMIT")[0].split(",")[-1].strip().removesuffix(" DESC").rpartition(".")[2]
    unique_last = {
        "organization_id",
        "location_id",
        "resource_id",
        "employee_id",
        "event_id",
        "anomaly_id",
        "alert_id",
        "plan_id",
        "run_id",
        "skill",
        "product_id",
        "bucket",
        "bucket_start",
        "target_time",
        "target_interval",
        "cause",
        "name",
        "model_version",
        "lead_time_days",
        "item_no",
        "reason",
        "ordinality",
        "kpi",
        "day",
        "available_at",
        "valid_from",
        "replaced_at",
        "purpose",
        "last_step",
        "time",
    }
    assert last in unique_last


def test_the_plans_of_functions_outlive_a_query() -> None:
    """A session is reset after statements that may leave state, and loses its plans: KPIs took twice the time."""
    resetting = {block.name for block in BLOCKS if shape(block.sql).may_leave_traces}
    called = {name for block in BLOCKS if block.name in resetting for name in shape(block.sql).functions}
    assert {name for name in called if name not in HARMLESS_FUNCTIONS} <= {
        "CHANGE_EMPLOYEE", "CHANGE_LOCATION", "CHANGE_RESOURCE"
    }  # fmt: skip


def test_a_refused_reference_is_told_in_words_that_hold_on_shards_too() -> None:
    from db_utils.errors import ForeignKeyViolationError, NotFoundError

    for table in ("resources", "resources_102008"):
        error = ForeignKeyViolationError(
            "insert or update violates foreign key constraint",
            detail=f'Key (organization_id, resource_id)=(1, 2) is not present in table "{table}".',
        )
        told = runner.unknown_reference(error)
        assert isinstance(told, NotFoundError)
        assert str(told).startswith("resource_id names no row of resources")
    bare = runner.unknown_reference(ForeignKeyViolationError("shift x does not exist in this organization"))
    assert "shift x does not exist" in str(bare)
