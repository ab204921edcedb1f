"""Every prebuilt read on Citus: the same answers as plain PostgreSQL on the same data, from one shard."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.cache.predictions import CachedPrediction
from tests.conftest import compared
from tests.support.query_calls import READ_CASES, READ_IDS, Facts, find_facts, read

# Some reads end now by default: the databases are queried at different moments, at most this far apart.
_APART = dt.timedelta(minutes=5)
_NEAR = Decimal("0.002")
# The time of writing, which differs between the databases; and random keys.
_OWN = {"recorded_at", "updated_at", "created_at", "notification_key"}


@pytest.fixture(scope="module")
def facts(citus: DatabaseManager) -> Facts:
    """The entities to query."""
    return find_facts(citus)


def _differs(ours: Any, theirs: Any, name: str = "") -> bool:
    """Whether two answers differ by more than the time of the query explains."""
    if name in _OWN or ours == theirs:
        return False
    if isinstance(ours, CachedPrediction):
        return _differs(ours.value, theirs.value)
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        return len(ours) != len(theirs) or any(_differs(a, b) for a, b in zip(ours, theirs, strict=True))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() != theirs.keys() or any(_differs(ours[k], theirs[k], k) for k in ours)
    if isinstance(ours, Decimal) and isinstance(theirs, Decimal):
        return abs(ours - theirs) > _NEAR * max(abs(ours), abs(theirs))
    if isinstance(ours, dt.datetime) and isinstance(theirs, dt.datetime):
        return abs(ours - theirs) > _APART
    if isinstance(ours, dt.timedelta) and isinstance(theirs, dt.timedelta):
        return abs(ours - theirs) > _APART
    return True


@pytest.mark.parametrize(("name", "index"), READ_CASES, ids=READ_IDS)
def test_it_answers_what_plain_answers(
    name: str, index: int, citus: DatabaseManager, plain: DatabaseManager, facts: Facts
) -> None:
    for _ in range(3):  # a minute that ends between two reads moves a sample out of the period
        # Citus plans the third once more or not at all: see planned_once.
        (*_, ours), (*_, scoped), (theirs,) = (
            [read(OperationalDataQueries(db), facts, name, index) for _ in range(times)]
            for db, times in ((citus, 3), (citus.tenant(facts.organization_id), 3), (plain, 1))
        )
        if not (_differs(ours, theirs) or _differs(scoped, ours)):
            break
    assert not _differs(ours, theirs)
    assert not _differs(scoped, ours)
    compared("answers of Citus with those of plain PostgreSQL, as owner and as tenant", 2)


@pytest.mark.parametrize(("name", "index"), READ_CASES, ids=READ_IDS)
def test_it_stays_in_one_shard(name: str, index: int, citus: DatabaseManager, facts: Facts) -> None:
    """Each read queries as few workers as possible; one that omits the organization would query every shard."""
    with citus.transaction(read_only=True) as transaction, transaction.connection() as connection:
        transaction.execute("SET LOCAL citus.log_remote_commands = on")
        transaction.execute("SET LOCAL client_min_messages = notice")
        connection.notices.clear()
        read(OperationalDataQueries(transaction), facts, name, index)
        tasks = [
            notice
            for notice in connection.notices
            if re.search(
                r"issuing (?!BEGIN|COMMIT|ROLLBACK|SET |SAVEPOINT|RELEASE|SELECT set_config)", notice
            )
        ]
    nodes = set(re.findall(r"on server (\S+)", "".join(tasks)))
    assert len(tasks) <= 2, "\n".join(tasks)
    assert len(nodes) <= 1
