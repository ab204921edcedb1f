"""Properties of every read: it answers, the same in a tenant scope, with the documented columns."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import inspect
import re
import uuid
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.connections.tenant import TENANT_ROLE, TENANT_SEARCH_PATH
from db_utils.errors import InvalidInputError, NotFoundError
from db_utils.queries import catalogue, records
from tests.support.query_calls import (
    READ_CASES,
    READ_IDS,
    READS,
    READS_OF_ALL,
    Facts,
    public_methods,
    read,
)

READ_METHODS = [name for name in public_methods() if catalogue.reads(name)]


# Written by services: the sample data have none of it.
NOT_IN_THE_SAMPLE = frozenset(
    (
        "get_demand_revisions",
        "get_forecast_backtests",
        "get_forecast_models",
        "get_production_schedule",
        "get_schedule_proposal_items",
        "get_schedule_proposals",
    )
)


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The rows of an answer, whatever it is: many, one, or a prediction's value."""
    if isinstance(answer, list):
        return answer
    if isinstance(answer, dict):
        return [answer]
    return [] if answer is None else answer.value


def test_every_read_is_in_the_table_of_calls() -> None:
    assert set(READ_METHODS) == set(READS) | READS_OF_ALL


@pytest.mark.parametrize(("name", "index"), READ_CASES, ids=READ_IDS)
def test_a_tenant_reads_what_the_owner_reads(
    seeded: DatabaseManager, facts: Facts, name: str, index: int
) -> None:
    """In one transaction, so that both have the same now()."""
    with seeded.transaction() as transaction:
        queries = OperationalDataQueries(transaction)
        as_owner = read(queries, facts, name, index)
        transaction.execute(f"SET LOCAL ROLE {TENANT_ROLE}")
        transaction.execute(f"SET LOCAL search_path = {TENANT_SEARCH_PATH}")
        transaction.execute(
            "SELECT set_config('app.organization_id', %s, true)", (str(facts.organization_id),)
        )
        as_tenant = read(queries, facts, name, index)
    assert rows_of(as_tenant) == rows_of(as_owner)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "index"), READ_CASES, ids=READ_IDS)
def test_the_farthest_period_is_answered_or_refused(
    seeded: DatabaseManager, facts: Facts, name: str, index: int
) -> None:
    """Well within the statement timeout."""
    parameters = inspect.signature(getattr(OperationalDataQueries, name)).parameters
    first, last = dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, tzinfo=dt.UTC)
    farthest: dict[str, Any] = {"days": 36_500} if "days" in parameters else {}
    if "start" in parameters:
        farthest = {"start": first, "end": last}
    elif "first_date" in parameters:
        farthest = {"first_date": first.date(), "end_date": last.date()}
    (subject, keywords) = READS[name](facts)[index]
    kept = {key: value for key, value in keywords.items() if key != "days" and key not in farthest}
    with seeded.transaction() as transaction:
        transaction.execute("SET LOCAL statement_timeout = '20s'")
        with contextlib.suppress(InvalidInputError):
            answer = getattr(OperationalDataQueries(transaction), name)(
                facts.organization_id, *subject, **kept, **farthest
            )
            assert len(rows_of(answer)) <= 1_000_000


@pytest.mark.parametrize("name", sorted(READS))
def test_a_tenant_scope_answers(seeded: DatabaseManager, facts: Facts, name: str) -> None:
    rows = rows_of(read(OperationalDataQueries(seeded.tenant(facts.organization_id)), facts, name, 0))
    assert bool(rows) == (name not in NOT_IN_THE_SAMPLE)


def words_of(name: str) -> set[str]:
    """The names in backticks in the docstring of this method or record, and in those that it refers to."""
    subject = getattr(OperationalDataQueries, name, None) or getattr(records, name)
    return set(re.findall(r"`(\w+)`", inspect.getdoc(subject) or "")) | set(
        getattr(subject, "__annotations__", {}) if isinstance(subject, type) else ()
    )


@pytest.mark.parametrize("name", sorted(READ_METHODS))
def test_the_first_call_finds_what_its_docstring_names(
    queries: OperationalDataQueries, facts: Facts, name: str
) -> None:
    """In the sample data; the organization may also be text."""
    text = dataclasses.replace(facts, organization_id=str(facts.organization_id).upper())
    rows = queries.get_organizations() if name in READS_OF_ALL else rows_of(read(queries, text, name, 0))
    assert bool(rows) == (name not in NOT_IN_THE_SAMPLE)
    said = words_of(name)
    if name.startswith("get_cached_"):
        assert said & {
            "get_current_demand_forecasts",
            "get_active_anomaly_predictions",
            "get_current_absence_forecasts",
        }
        return
    for other in [word for word in said if hasattr(OperationalDataQueries, word) or hasattr(records, word)]:
        said |= words_of(other)
    columns = set(rows[0] if rows else read(queries.as_frame("arrow"), facts, name, 0).column_names)
    assert columns <= said
    assert all(set(row) == columns for row in rows)


@pytest.mark.parametrize("name", sorted(READS))
def test_another_organization_is_not_found(
    seeded: DatabaseManager, queries: OperationalDataQueries, facts: Facts, name: str
) -> None:
    """One that does not exist; and a tenant finds only its own."""
    positional, keywords = READS[name](facts)[0]
    with pytest.raises(NotFoundError, match="does not exist"):
        getattr(queries, name)(uuid.uuid4(), *positional, **keywords)
    stranger = OperationalDataQueries(seeded.tenant("22222222-2222-2222-2222-222222222222"))
    with pytest.raises(NotFoundError):
        getattr(stranger, name)(facts.organization_id, *positional, **keywords)
