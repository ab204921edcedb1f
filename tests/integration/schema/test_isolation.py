"""Can one tenant reach another's rows? Everything in the catalog is tried, by three kinds of attacker."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema
from tests.integration.schema.isolation import (
    calling,
    catalog,
    columnstore,
    escaping,
    overhearing,
    population,
    reading,
    statements,
    writing,
)
from tests.integration.schema.isolation.attackers import PASSWORD, Attacker, Ledger
from tests.integration.schema.isolation.population import Organization
from tests.support import isolation_page

pytestmark = pytest.mark.slow


@dataclass
class Field:
    """A database with some organizations, and connections to it."""

    url: str
    owner: Any
    own: Organization
    foreign: Organization
    others: list[Organization]  # all except the attacker's own
    login: str
    application: str
    edition: str
    busy: Any  # an active session of the foreign organization
    shared: Any  # a pooled session of the application's owner
    last: str = ""

    def __post_init__(self) -> None:
        self.last = self.fingerprint()
        self.relations, views = catalog.relations(self.owner), catalog.views(self.owner)
        self.views = [view for view in views if view.schema != "tenant_load"]
        self.loads = [view for view in views if view.schema == "tenant_load"]
        self.routines, self.settings = catalog.routines(self.owner), catalog.settings(self.owner)

    def attackers(self, ledger: Ledger) -> list[Attacker]:
        """A customer's login; an application's session acting for the customer; one acting for no organization."""
        as_tenant = ("SET ROLE barnameh_tenant", "SET search_path = tenant, public, pg_temp")
        as_own = (*as_tenant, f"SET app.organization_id = '{self.own.organization_id}'")
        application = self.url_of(self.application)
        return [
            Attacker("login", self.url_of(self.login), ledger, own=self.own),
            Attacker("scope", application, ledger, own=self.own, setup=as_own, chooses_organization=True),
            Attacker(
                "no tenant", application, ledger, own=self.own, setup=as_tenant, chooses_organization=True
            ),
        ]

    def url_of(self, role: str) -> str:
        return make_dsn(**{**parse_dsn(self.url), "user": role, "password": PASSWORD})

    def fingerprint(self) -> str:
        """Fingerprints of all rows of the other organizations, and of everything that no tenant may change."""
        others = [other.organization_id for other in self.others]
        return catalog.contents(self.owner, others) + "\n" + catalog.arrangement(self.owner)


@contextmanager
def connected(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture
def field(empty_database: Any) -> Iterator[Field]:
    with populated(empty_database.settings.database_url, others=2) as made:
        yield made


@contextmanager
def populated(url: str, *, others: int) -> Iterator[Field]:
    """The attacker's organization and this many others, in which every value is secret."""
    tail = uuid.uuid4().hex[:8]
    login, application = f"isolation_login_{tail}", f"isolation_application_{tail}"
    own, *secret = [Organization(number, number > 1) for number in range(1, others + 2)]
    foreign = secret[0]
    with connected(url) as owner, connected(url) as busy, connected(url) as shared, owner.cursor() as cursor:
        for organization in (own, *secret):
            population.fill(owner, organization)
        with DatabaseManager(url) as db:
            schema.refresh_rollups(db)  # in every edition it stores machine time
        population.settle(owner)
        cursor.execute(f"CREATE ROLE {application} LOGIN PASSWORD '{PASSWORD}'")
        cursor.execute(f"GRANT barnameh_tenant TO {application} WITH INHERIT FALSE, SET TRUE")
        cursor.execute("CALL create_tenant_login(%s, %s, %s)", [own.organization_id, login, PASSWORD])
        cursor.execute(
            "CALL create_tenant_login(%s, %s, %s)", [foreign.organization_id, f"{login}_b", PASSWORD]
        )
        try:
            cursor.execute("SELECT database_edition()")
            (edition,) = cursor.fetchone()
            yield Field(url, owner, own, foreign, secret, login, application, edition, busy, shared)
        finally:
            for name in (login, f"{login}_b"):
                cursor.execute("CALL drop_tenant_login(%s)", [name])
            cursor.execute(f"DROP OWNED BY {application}; DROP ROLE {application}")


Round = Callable[[], object]

# Every round and every category must have made some attempts; these exist in every edition.
CATEGORIES = {
    "claims to be another organization", "existence by refusals", "functions of the schema and TimescaleDB's API",
    "functions that read by name", "large objects", "leaky predicates", "moves", "notifications",
    "one session, two tenants", "plans", "planting", "read schema public", "read schema tenant",
    "read schema tenant_load", "read system catalogs",
    "references", "roles", "search_path and shadowing", "sequences", "settings", "statistics and activity",
    "rows by COPY", "cursors and prepared statements", "trigger functions", "locks of tables", "debug output", "refusals in full",
    "functions with the owner's rights", "limits and attributes of roles", "counters and snapshots",
    "system functions", "upserts", "write foreign rows", "write schema public", "write system catalogs",
}  # fmt: skip
CATEGORIES_OF_TIMESCALEDB = {
    "TimescaleDB's own functions", "read chunks and TimescaleDB's own", "write chunks and TimescaleDB's own",
}  # fmt: skip
COLUMNSTORE = "oracles of the columnstore"


def rounds(field: Field, attacker: Attacker) -> dict[str, Round]:
    """The attacks, by name."""
    relations, views = field.relations, field.views
    if (
        attacker.name == "no tenant"
    ):  # the same role as "scope": attempts that depend only on the role were made there
        relations = [relation for relation in relations if relation.schema in ("public", "tenant")]
    written = views + field.loads
    # A login that may choose the organization may also query that organization's keys: by INSERT's errors there.
    asked = views if attacker.chooses_organization else written
    routines, settings, foreign = field.routines, field.settings, field.foreign
    roles = [
        "barnameh_user",
        "barnameh_tenant",
        "barnameh_tenant_login",
        "barnameh_readonly",
        "pg_read_all_data",
    ]
    roles += [field.login, f"{field.login}_b", field.application, "none"]
    arguments = calling.Arguments(
        relations, foreign, [field.login, "barnameh_user", "public", "app.organization_id"]
    )
    most = 1 if attacker.name == "no tenant" else 12
    return {
        "read": lambda: reading.read_relations(attacker, relations),
        "explain": lambda: reading.explain(attacker, relations),
        "spy": lambda: reading.spy(attacker, views, foreign),
        "settings": lambda: reading.spy_under_settings(attacker, settings),
        "write": lambda: writing.write_into(attacker, written, foreign),
        "upsert": lambda: writing.upsert(attacker, asked, foreign),
        "refer": lambda: writing.refer(attacker, written, foreign),
        "existence": lambda: writing.existence(attacker, asked, foreign),
        "columnstore": lambda: columnstore.ask(attacker, field.owner, written, foreign),
        "write relations": lambda: writing.write_relations(attacker, relations, foreign),
        "call": lambda: calling.call(attacker, routines, arguments, most=most),
        "read by name": lambda: calling.read_through_functions(attacker, relations, foreign),
        "become": lambda: escaping.become(attacker, roles),
        "claim": lambda: escaping.claim(attacker, foreign),
        "shadow": lambda: escaping.shadow(attacker, views, foreign),
        "plant": lambda: escaping.plant(attacker, views),
        "listen": lambda: overhearing.listen(attacker, field.owner, foreign),
        "watch": lambda: overhearing.watch(attacker, foreign, field.busy),
        "share": lambda: overhearing.share_a_session(attacker, field.shared, views, foreign),
        "sequences": lambda: overhearing.count_sequences(attacker, relations),
        "large objects": lambda: overhearing.large_objects(attacker, field.owner),
        "copy": lambda: statements.copy_rows(attacker, written, foreign),
        "keep open": lambda: statements.keep_open(attacker, views, foreign),
        "fire": lambda: statements.fire(attacker, field.owner, views, foreign),
        "lock": lambda: statements.lock(attacker, views, relations),
        "debug": lambda: statements.debug(attacker, views),
        "refusals": lambda: statements.refusals(attacker, asked, foreign),
        "change": lambda: statements.change(attacker, foreign),
        "limits": lambda: statements.limits(attacker, field.owner),
        "count": lambda: statements.count(attacker, relations, field.busy),
    }


def attack(field: Field, ledger: Ledger, attacker: Attacker, name: str) -> None:
    """Run one round, and check that nothing of the others has changed."""
    population.compress(field.owner)  # rows decompressed by an earlier round would hide those of this one
    attempts = ledger.attempts.total()
    rounds(field, attacker)[name]()
    attacker.leave()
    before, field.last = field.last, field.fingerprint()
    if field.last != before:
        attacker.report(name, f"changed: {sorted(set(field.last.splitlines()) ^ set(before.splitlines()))}")
    assert ledger.attempts.total() > attempts or (
        (name == "claim" and attacker.chooses_organization)
        or (name == "columnstore" and field.edition != "community")
    )


def test_no_attack_crosses(field: Field, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger()
    for attacker in field.attackers(ledger):
        for name in rounds(field, attacker):
            attack(field, ledger, attacker, name)
    with capsys.disabled():
        print(f"\n{ledger.table()}")
    wanted = CATEGORIES if field.edition == "plain" else CATEGORIES | CATEGORIES_OF_TIMESCALEDB
    if field.edition == "community":
        wanted = wanted | {COLUMNSTORE}
    assert wanted <= {category for category, count in ledger.attempts.items() if count > 0}
    assert ledger.crossing_count == 0
    if os.environ.get("ISOLATION_COUNTS") == "write":
        isolation_page.write(isolation_page.COUNTS, field.edition, ledger.attempts, {})
    documented = isolation_page.counts().get(field.edition, {})
    # The number of chunks depends on the day of the week: a tenth fewer attempts is the same attack.
    assert [name for name, (count, _) in documented.items() if ledger.attempts[name] < 0.9 * count] == []


def test_tenants_can_work(field: Field) -> None:
    """Refusing everything would prove nothing: own rows can be read and written in every view."""
    views = field.views + field.loads
    login, scope, nobody = field.attackers(Ledger())
    assert len(views) > 25
    assert writing.own_rows_work(login, views) == []
    assert writing.own_rows_work(scope, views) == []
    assert all(nobody.quietly(f"SELECT * FROM {view.sql}").rows == [] for view in views)


OWN_CHECK = "optimization_runs_organization_id_is_tenants_own_check"
TRUSTING = """
    CREATE OR REPLACE FUNCTION current_organization_id() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('app.organization_id', true), '')::uuid $$
"""

# The broken safeguard, the round that must detect it, and its category.
BREAKS = [
    ("GRANT SELECT ON public.locations TO barnameh_tenant_login", "read", "read schema public"),
    ("GRANT SELECT ON pg_statistic TO PUBLIC", "watch", "statistics and activity"),
    ("GRANT barnameh_readonly TO {login}", "read by name", "functions that read by name"),
    ("ALTER VIEW tenant.employees RESET (security_barrier)", "spy", "leaky predicates"),
    (
        f"ALTER TABLE public.optimization_runs DROP CONSTRAINT {OWN_CHECK}",
        "existence",
        "existence by refusals",
    ),
    (f"ALTER TABLE public.optimization_runs DROP CONSTRAINT IF EXISTS {OWN_CHECK}", "upsert", "upserts"),
    (
        "ALTER FUNCTION notification_channel(text, uuid) SECURITY DEFINER SET search_path = public",
        "listen",
        "notifications",
    ),
    ("GRANT DELETE ON public.alerts TO barnameh_tenant_login", "write relations", "write relations"),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", "plant", "plant"),
    (TRUSTING, "claim", "claims to be another organization"),
    (
        f"ALTER TABLE public.optimization_runs DROP CONSTRAINT IF EXISTS {OWN_CHECK}",
        "refusals",
        "refusals in full",
    ),
    ("GRANT EXECUTE ON FUNCTION keep_demand_revision() TO PUBLIC", "fire", "trigger functions"),
    ("GRANT UPDATE ON tenant.organizations TO barnameh_tenant_login", "lock", "locks of tables"),
    ("GRANT barnameh_readonly TO {login}", "limits", "limits and attributes of roles"),
    ("GRANT SET ON PARAMETER temp_file_limit TO {login}", "limits", "limits and attributes of roles"),
    ("GRANT SELECT ON SEQUENCE sync_outbox_outbox_id_seq TO PUBLIC", "count", "counters and snapshots"),
]
BREAKS_OF_THE_COLUMNSTORE = [
    ("DROP TRIGGER demand_history_write ON tenant.demand_history", "columnstore", COLUMNSTORE),
    (
        "GRANT INSERT ON tenant_load.operational_events TO barnameh_tenant_login",
        "existence",
        "existence by refusals",
    ),
]


def test_the_alarm_rings(field: Field) -> None:
    """Each removed safeguard is detected, in its round."""
    silent = []
    more = BREAKS_OF_THE_COLUMNSTORE if field.edition == "community" else []
    for sql, name, category in more + BREAKS:
        with field.owner.cursor() as cursor:
            cursor.execute(sql.format(login=field.login))
        field.last = field.fingerprint()
        ledger = Ledger()
        attack(field, ledger, field.attackers(ledger)[0], name)
        if not ledger.crossings.get(category):
            silent.append(f"{sql} ({name}): {list(ledger.crossings)}")
    assert silent == []
