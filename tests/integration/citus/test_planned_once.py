"""Prebuilt reads that a session repeats are prepared, with their organization as a constant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.connections import planned_once
from db_utils.errors import PermissionDeniedError, QueryError
from db_utils.queries.loader import query
from tests.support.query_calls import Facts, find_facts

_PREPARED = "SELECT name FROM pg_prepared_statements ORDER BY prepare_time, name"


@pytest.fixture
def db(citus: DatabaseManager, cluster_urls: list[str]) -> Iterator[DatabaseManager]:
    """A manager of one session."""
    with DatabaseManager(cluster_urls[0], max_connections=1) as db:
        yield db


@pytest.fixture
def facts(citus: DatabaseManager) -> Facts:
    return find_facts(citus)


def _prepared(db: DatabaseManager) -> list[str]:
    return [row["name"].rsplit("_", 1)[0] for row in db.execute_query(_PREPARED)]


def test_the_second_time_it_is_prepared_for_each_scope(db: DatabaseManager, facts: Facts) -> None:
    owner, tenant = (
        OperationalDataQueries(each).get_resources for each in (db, db.tenant(facts.organization_id))
    )
    rows = owner(facts.organization_id)
    assert rows
    assert _prepared(db) == []
    for _ in range(3):
        assert owner(facts.organization_id) == tenant(facts.organization_id) == rows
    assert _prepared(db) == ["get_resources", "get_resources"]
    for resource in [row["resource_id"] for row in rows]:
        assert [row["resource_id"] for row in owner(facts.organization_id, resource_id=resource)] == [
            resource
        ]
    assert _prepared(db) == ["get_resources", "get_resources"]


def test_a_scope_does_not_see_what_the_session_prepared_for_others(db: DatabaseManager, facts: Facts) -> None:
    for _ in range(2):
        OperationalDataQueries(db).get_resources(facts.organization_id)
    with pytest.raises(PermissionDeniedError):
        db.tenant(facts.organization_id).execute_query(_PREPARED)


def test_a_session_keeps_those_used_last(
    db: DatabaseManager, facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned_once, "_MOST", 2)
    queries = OperationalDataQueries(db)
    for call in (queries.get_resources, queries.get_locations, queries.get_skills, queries.get_resources):
        for _ in range(3):
            assert call(facts.organization_id)
    assert _prepared(db) == ["get_skills", "get_resources"]


def test_a_statement_that_is_gone_or_failed_is_prepared_afresh(db: DatabaseManager, facts: Facts) -> None:
    queries = OperationalDataQueries(db)
    rows = [queries.get_resources(facts.organization_id) for _ in range(3)][-1]
    with db.transaction() as transaction:
        transaction.execute("DEALLOCATE ALL")
    assert queries.get_resources(facts.organization_id) == rows
    assert [queries.get_resources(facts.organization_id) for _ in range(2)] == [rows, rows]
    assert _prepared(db) == ["get_resources"]
    wrong = dict.fromkeys(query("get_resources").parameter_names, None)
    wrong |= {"organization_id": facts.organization_id, "resource_id": "no identifier"}
    with pytest.raises(QueryError):
        db.execute_query(query("get_resources").sql, wrong)
    assert _prepared(db) == []
    assert queries.get_resources(facts.organization_id) == rows
