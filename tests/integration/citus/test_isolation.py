"""Can one tenant reach another's rows on Citus? The attack of the other editions, on the coordinator and directly on the workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from tests.conftest import compared
from tests.integration.schema.isolation import writing
from tests.integration.schema.isolation.attackers import PASSWORD, Attacker, Ledger
from tests.integration.schema.test_isolation import Field, attack, populated

# Rounds that need a session longer than one transaction, or missing features: on Citus the scope lasts for one transaction, there are no
# notifications, there is no columnstore, and large objects and sequences belong to each server. ("become" is left out: REASSIGN OWNED …
# TO CURRENT_USER, whoever sends it, ends a server with Citus 14.0.1; "lock", because who may write to a table may lock it: docs/citus.md.)
_ROUNDS = (
    "read", "explain", "spy", "write", "upsert", "refer", "existence", "write relations", "call", "read by name", "claim",
    "shadow", "plant", "watch", "copy", "fire", "debug", "refusals", "change", "limits",
)  # fmt: skip


@pytest.fixture(scope="module")
def field(cluster_urls: list[str]) -> Iterator[Field]:
    """The attacker's organization and two others, whose every value is a secret."""
    with populated(cluster_urls[0], others=2) as made:
        yield made


def _attackers(field: Field, ledger: Ledger, cluster_urls: list[str]) -> list[Attacker]:
    """A customer's login, on each node; an application's session acting for the customer; one acting for no organization."""
    scope = (
        "SET LOCAL ROLE barnameh_tenant; SET LOCAL search_path = tenant_load, tenant, public, pg_temp; "
        "DO $$ BEGIN SET LOCAL citus.propagate_set_commands = 'local'; SET LOCAL app.organization_id = '{}'; END $$;"
    )
    logins = [
        Attacker(
            f"login on node {number}",
            make_dsn(**{**parse_dsn(url), "user": field.login, "password": PASSWORD}),
            ledger,
            own=field.own,
        )
        for number, url in enumerate(cluster_urls)
    ]
    application = field.url_of(field.application)
    return [
        *logins,
        *(
            Attacker(
                name,
                application,
                ledger,
                own=field.own,
                each=scope.format(organization),
                chooses_organization=True,
            )
            for name, organization in (("scope", field.own.organization_id), ("no tenant", ""))
        ),
    ]


@pytest.mark.slow
def test_no_attack_crosses(field: Field, cluster_urls: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    for attacker in _attackers(field, ledger, cluster_urls):
        for name in _ROUNDS:
            attack(field, ledger, attacker, name)
    with capsys.disabled():
        print(f"\n{ledger.table()}")
    compared("attempts to reach another tenant's rows on Citus", ledger.attempts.total())
    assert ledger.crossing_count == 0


def test_the_worst_attacks_do_not_cross(field: Field, cluster_urls: list[str]) -> None:
    """Reading and writing every relation, and every function that runs a text, as each of the attackers."""
    ledger = Ledger()
    for attacker in _attackers(field, ledger, cluster_urls):
        for name in ("write", "claim", "read by name"):
            attack(field, ledger, attacker, name)
        for call in ("run_command_on_workers", "run_command_on_all_nodes"):
            attacker.attempt(
                "functions of Citus",
                f"SELECT * FROM {call}($$SELECT set_config('app.organization_id', '{field.foreign.organization_id}', false); "
                "SELECT string_agg(e::text, ',') FROM employees AS e$$)",
            )
        attacker.leave()
    compared("attempts to reach another tenant's rows on Citus", ledger.attempts.total())
    assert ledger.crossing_count == 0, ledger.table()


def test_tenants_can_work(field: Field, cluster_urls: list[str]) -> None:
    """Refusing everything would prove nothing: own rows can be read and written in every table."""
    attackers = _attackers(field, Ledger(), cluster_urls)
    assert writing.own_rows_work(attackers[0], field.views) == []
    assert writing.own_rows_work(attackers[-2], field.views) == []
    nobody = attackers[-1]
    assert all(nobody.quietly(f"SELECT * FROM {view.sql}").rows == [] for view in field.views)


def test_without_a_policy_the_alarm_rings(field: Field, cluster_urls: list[str]) -> None:
    with field.owner.cursor() as cursor:
        cursor.execute("ALTER TABLE alerts DISABLE ROW LEVEL SECURITY")
        try:
            ledger = Ledger()
            attacker = _attackers(field, ledger, cluster_urls)[0]
            attacker.attempt("read", "SELECT * FROM alerts")
            attacker.leave()
            assert ledger.crossing_count == 1
        finally:
            cursor.execute("ALTER TABLE alerts ENABLE ROW LEVEL SECURITY")
