"""sql/verify.sql: silent on a complete schema, and names everything that is broken."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from db_utils import DatabaseManager, schema
from db_utils.errors import SchemaError
from tests.conftest import fresh_database
from tests.support import contract

VERIFY = (schema.folder("sql") / "verify.sql").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def database(server_url: str, schema_template: str) -> Iterator[DatabaseManager]:
    """A new schema that is never changed permanently."""
    with fresh_database(server_url, schema_template) as url, DatabaseManager(url) as db:
        yield db


@pytest.fixture(scope="module")
def session(database: DatabaseManager) -> Iterator[Any]:
    connection = psycopg2.connect(database.settings.database_url)
    yield connection
    connection.close()


@pytest.fixture
def complaint(session: Any) -> Iterator[Callable[[str], str]]:
    """The output of verify after these statements, which are rolled back afterwards."""

    def complain(sql: str) -> str:
        with session.cursor() as cursor:
            cursor.execute(sql)
            try:
                cursor.execute(VERIFY)
            except psycopg2.errors.RaiseException as error:
                return str(error.diag.message_primary)
            return ""

    yield complain
    session.rollback()


def edition(database: DatabaseManager) -> str:
    return schema.edition(database)


def test_a_whole_schema_passes_and_nothing_is_written(database: DatabaseManager, session: Any) -> None:
    schema.verify(database)
    with session.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SET LOCAL search_path = pg_catalog")
        cursor.execute(VERIFY)
    session.rollback()


# Each is broken separately, in every edition; the texts are the complete expected output of verify.
BREAKS: list[tuple[str, ...]] = [
    (
        "ALTER TABLE locations RENAME COLUMN address TO postal_address",
        "column locations.address is missing",
        "view tenant.locations has other columns than public.locations",
    ),
    (
        "DROP VIEW tenant.locations; ALTER TABLE locations ALTER COLUMN address TYPE varchar(20)",
        "column locations.address is character varying, not text",
        "view tenant.locations is missing",
    ),
    ("ALTER TABLE resources DROP CONSTRAINT resources_status_check", "CHECK resources_status_check of resources is missing"),
    ("ALTER TABLE alerts ADD CHECK (title <> message)", "CHECK alerts_check of alerts has a generated name"),
    ("ALTER TABLE locations DROP CONSTRAINT locations_organization_id_name_key", "key locations_organization_id_name_key"),
    ("ALTER TABLE alerts DROP CONSTRAINT alerts_organization_id_resource_id_fkey", "foreign key alerts_organization_id_resource_id"),
    (
        "ALTER TABLE shift_assignments DROP CONSTRAINT shift_assignments_employee_not_in_two_shifts_at_once_excl",
        "exclusion shift_assignments_employee_not_in_two_shifts_at_once_excl of shift_assignments is missing",
    ),
    ("DROP INDEX employees_skills_idx", "index employees_skills_idx of employees is missing"),
    ("DROP TRIGGER alerts_announce ON alerts", "trigger alerts_announce of alerts is missing or disabled"),
    ("ALTER TABLE alerts DISABLE TRIGGER alerts_announce", "trigger alerts_announce of alerts is missing or disabled"),
    ("DROP FUNCTION get_kpi_summary(uuid, integer)", "function get_kpi_summary(uuid,integer) is missing"),
    ("DROP FUNCTION rollup_definitions()", "function rollup_definitions() is missing"),
    ("DELETE FROM schema_version", "schema_version has no version"),
    (
        "INSERT INTO schema_version (version, description) VALUES (999, 'of the future')",
        f"schema version 999 is newer than {schema.latest_version()}, the newest that this file knows",
    ),
    (
        f"DELETE FROM schema_version WHERE version = {schema.latest_version()}",
        f"schema_version has no version {schema.latest_version()}",
    ),
    ("ALTER TABLE alerts ADD UNIQUE (title)", "alerts_title_key of alerts does not begin with organization_id"),
    ("CREATE UNIQUE INDEX odd_idx ON alerts (title); COMMENT ON INDEX odd_idx IS 'x'", "unique index odd_idx does not begin"),
    (
        "ALTER TABLE alerts ADD CONSTRAINT alerts_odd_fkey FOREIGN KEY (alert_type) REFERENCES seed_runs (seed_name)",
        "alerts_odd_fkey of alerts does not begin with organization_id",
    ),
    (
        "ALTER TABLE alerts ADD CONSTRAINT alerts_odd_excl EXCLUDE USING btree (title WITH =)",
        "alerts_odd_excl of alerts does not begin with organization_id",
    ),
    (
        "ALTER TABLE tenant_logins DROP CONSTRAINT tenant_logins_pkey, ALTER COLUMN organization_id DROP NOT NULL",
        "tenant_logins has no organization_id, or it may be NULL",
        "column tenant_logins.organization_id may be NULL",
        "key tenant_logins_pkey of tenant_logins is missing",
    ),
    (
        "ALTER TABLE alerts ADD CONSTRAINT alerts_odd_fkey FOREIGN KEY (organization_id, resource_id) "
        "REFERENCES resources ON DELETE SET NULL (resource_id)",
        "alerts_odd_fkey of alerts is ON DELETE SET NULL",
    ),
    ("COMMENT ON TABLE alerts IS NULL", "alerts has no comment"),
    ("COMMENT ON VIEW active_alerts IS NULL", "active_alerts has no comment"),
    ("COMMENT ON COLUMN alerts.title IS NULL", "column alerts.title has no comment"),
    ("COMMENT ON COLUMN active_alerts.title IS NULL", "column active_alerts.title has no comment"),
    ("COMMENT ON COLUMN tenant.alerts.title IS NULL", "column tenant.alerts.title has no comment"),
    ("COMMENT ON VIEW tenant.alerts IS NULL", "tenant.alerts has no comment"),
    ("COMMENT ON INDEX employees_skills_idx IS NULL", "index employees_skills_idx has no comment"),
    ("COMMENT ON FUNCTION is_timezone(text) IS NULL", "function is_timezone(text) has no comment"),
    ("DROP VIEW tenant.alerts", "view tenant.alerts is missing"),
    ("ALTER VIEW tenant.alerts RESET (security_barrier)", "view tenant.alerts is not a security barrier"),
    ("ALTER VIEW tenant.alerts RESET (check_option)", "view tenant.alerts has no check option"),
    (
        "CREATE OR REPLACE VIEW tenant.active_alerts WITH (security_barrier) AS SELECT * FROM public.active_alerts",
        "view tenant.active_alerts does not show the rows of current_organization_id() only",
    ),
    (
        "CREATE OR REPLACE VIEW tenant.active_alerts WITH (security_barrier) AS SELECT * FROM public.active_alerts "
        "WHERE organization_id = (SELECT current_organization_id()) OR severity = 'low'",
        "view tenant.active_alerts does not show the rows of current_organization_id() only",
    ),
    (
        "ALTER TABLE alerts ADD COLUMN note text; COMMENT ON COLUMN alerts.note IS 'x'",
        "view tenant.alerts has other columns than public.alerts",
    ),
    ("CREATE TYPE tenant.odd AS (x integer)", "tenant.odd has no base in public"),
    (
        "ALTER TABLE alerts DROP CONSTRAINT alerts_organization_id_is_tenants_own_check",
        "CHECK alerts_organization_id_is_tenants_own_check of alerts is missing or different",
    ),
    (
        "ALTER TABLE alerts DROP CONSTRAINT alerts_organization_id_is_tenants_own_check, "
        "ADD CONSTRAINT alerts_organization_id_is_tenants_own_check CHECK (true)",
        "CHECK alerts_organization_id_is_tenants_own_check of alerts is missing or different",
    ),
    (
        "ALTER TABLE alerts DROP CONSTRAINT alerts_title_at_most_10000_chars_check",
        "column alerts.title has no bound: CHECK alerts_title_at_most_10000_chars_check is missing",
    ),
    (
        "ALTER TABLE demand_history DROP CONSTRAINT demand_history_quantity_within_1e15_check",
        "column demand_history.quantity has no bound: CHECK demand_history_quantity_within_1e15_check is missing",
    ),
    ("ALTER FUNCTION current_organization_id() IMMUTABLE", "current_organization_id() must be STABLE"),
    ("ALTER FUNCTION current_organization_id() SECURITY INVOKER", "current_organization_id() must be STABLE"),
    ("GRANT SELECT ON locations TO barnameh_tenant", "barnameh_tenant has SELECT on locations"),
    ("GRANT SELECT (name) ON locations TO PUBLIC", "PUBLIC has SELECT (name) on locations"),
    ("GRANT TRUNCATE ON tenant.locations TO barnameh_tenant_login", "barnameh_tenant_login has TRUNCATE on tenant.locations"),
    ("GRANT INSERT ON tenant.organizations TO barnameh_tenant", "barnameh_tenant has INSERT on tenant.organizations"),
    ("GRANT DELETE ON tenant.demand_forecasts TO barnameh_tenant", "barnameh_tenant has DELETE on tenant.demand_forecasts"),
    ("REVOKE SELECT ON tenant.locations FROM barnameh_tenant_login", "barnameh_tenant_login lacks SELECT on tenant.locations"),
    ("REVOKE SELECT ON active_alerts FROM barnameh_readonly", "barnameh_readonly lacks SELECT on active_alerts"),
    ("GRANT INSERT ON alerts TO barnameh_readonly", "barnameh_readonly has INSERT on alerts"),
    ("GRANT SELECT ON tenant_logins TO barnameh_readonly", "barnameh_readonly has SELECT on tenant_logins"),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", "PUBLIC has CREATE on schema public"),
    ("REVOKE USAGE ON SCHEMA tenant FROM barnameh_tenant", "barnameh_tenant lacks USAGE on schema tenant"),
    ("DROP VIEW tenant_load.demand_history", "view tenant_load.demand_history is missing"),
    (
        "GRANT INSERT ON tenant_load.demand_history TO barnameh_tenant_login",
        "barnameh_tenant_login has INSERT on tenant_load.demand_history",
    ),
    (
        "ALTER VIEW tenant_load.demand_history RESET (security_barrier)",
        "view tenant_load.demand_history differs from tenant.demand_history",
    ),
    ("GRANT EXECUTE ON FUNCTION announce_row() TO PUBLIC", "PUBLIC may call announce_row()"),
    ("GRANT EXECUTE ON PROCEDURE drop_tenant_login(text) TO PUBLIC", "PUBLIC may call drop_tenant_login(text)"),
    ("GRANT EXECUTE ON FUNCTION lo_creat(integer) TO PUBLIC", "PUBLIC may call lo_creat(integer)"),
    ("GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO PUBLIC", "logins of customers may call pg_notify(text,text)"),
    ("ALTER FUNCTION announce_row() RESET search_path", "announce_row() runs with the owner's rights but does not set its search_path"),
    ("ALTER ROLE barnameh_readonly CREATEDB", "role barnameh_readonly can log in, or has more than its grants"),
    ("GRANT pg_signal_backend TO barnameh_tenant", "role barnameh_tenant is a member of pg_signal_backend"),
]  # fmt: skip

BREAKS_OF_PLAIN: list[tuple[str, ...]] = [
    ("DROP INDEX demand_history_time_idx", "index demand_history_time_idx of demand_history is missing"),
    ("DROP INDEX demand_history_organization_id_hour_idx", "index demand_history_organization_id_hour_idx of demand_history"),
    ("DROP FUNCTION time_bucket(interval, date)", "function time_bucket(interval,date) is missing"),
]  # fmt: skip

BREAKS_OF_TIMESCALEDB: list[tuple[str, ...]] = [
    ("GRANT SELECT ON _timescaledb_catalog.chunk TO PUBLIC", "_timescaledb_catalog.chunk of TimescaleDB can be read"),
    ("GRANT EXECUTE ON FUNCTION delete_job(integer) TO PUBLIC", "PUBLIC may call delete_job(integer)"),
]  # fmt: skip

BREAKS_OF_COMMUNITY: list[tuple[str, ...]] = [
    (
        "DROP TRIGGER demand_history_write ON tenant.demand_history",
        "trigger demand_history_write of tenant.demand_history is missing or disabled",
    ),
    (
        "CREATE OR REPLACE TRIGGER demand_history_write INSTEAD OF UPDATE ON tenant_load.demand_history "
        "FOR EACH ROW EXECUTE FUNCTION write_tenants_demand_history()",
        "trigger demand_history_write of tenant_load.demand_history is missing or disabled",
    ),
    ("CALL remove_columnstore_policy('demand_history')", "demand_history has no columnstore policy"),
    ("CALL remove_columnstore_policy('demand_history_daily')", "demand_history_daily has no columnstore policy"),
    ("SELECT remove_continuous_aggregate_policy('demand_history_daily')", "demand_history_daily has no refresh policy"),
    (
        "ALTER MATERIALIZED VIEW demand_history_daily SET (timescaledb.materialized_only = true)",
        "demand_history_daily is not a continuous aggregate that is read in real time",
    ),
    (
        "ALTER TABLE demand_history SET (timescaledb.segmentby = 'organization_id')",
        "demand_history has no columnstore segmented by organization_id, product_id, location_id",
    ),
    (
        "ALTER MATERIALIZED VIEW demand_history_daily SET (timescaledb.segmentby = 'organization_id, product_id')",
        "demand_history_daily has no columnstore segmented by organization_id, ordered by bucket",
    ),
]  # fmt: skip


@pytest.mark.thorough
def test_each_break_is_named(
    database: DatabaseManager, session: Any, complaint: Callable[[str], str]
) -> None:
    breaks = {
        "plain": BREAKS + BREAKS_OF_PLAIN,
        "apache": BREAKS + BREAKS_OF_TIMESCALEDB,
        "community": BREAKS + BREAKS_OF_TIMESCALEDB + BREAKS_OF_COMMUNITY,
    }[edition(database)]
    unnamed = []
    for sql, *expected in breaks:
        try:
            said = complaint(sql)
        except psycopg2.Error as error:
            said = f"the break itself failed: {error}"
        session.rollback()
        count = re.match(r"\d+", said)
        if count is None or int(count[0]) != len(expected) or not all(part in said for part in expected):
            unnamed.append(f"{sql}\n    {said}")
    assert not unnamed, "\n".join(unnamed)


# Every object that the schema has, from the catalog: how to drop it, and the expected output of verify. Objects of one relation
# and kind are dropped together, to keep the test short; each must still be named.
LOSSES = """
    SELECT 'column ' || relation, format('ALTER TABLE %s ALTER %I DROP NOT NULL', relation, attname),
        format('column %s.%s may be NULL', relation, attname)
    FROM columns
    WHERE attnotnull AND NOT is_key
    UNION ALL
    SELECT 'default ' || relation, format('ALTER TABLE %s ALTER %I DROP DEFAULT', relation, attname),
        format('column %s.%s has no default', relation, attname)
    FROM columns
    WHERE atthasdef
    UNION ALL
    SELECT 'attribute ' || relation, format('ALTER TABLE %s DROP COLUMN %I CASCADE', relation, attname),
        format('column %s.%s is missing', relation, attname)
    FROM columns
    WHERE NOT is_key AND attname NOT IN ('organization_id', 'resource_id')
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass, format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', conrelid::regclass, conname),
        conname || ' of '
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'p', 'u', 'f', 'x')
        AND conname NOT IN (SELECT check_name FROM value_bounds())
    UNION ALL
    SELECT 'index ' || i.indrelid::regclass, format('DROP INDEX %s', i.indexrelid::regclass), format('index %s of ', i.indexrelid::regclass)
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
    UNION ALL
    SELECT 'trigger ' || t.tgrelid::regclass, format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass),
        format('trigger %s of ', t.tgname)
    FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND t.tgname !~ '^ts_'
    UNION ALL
    SELECT 'function ' || p.oid, format('DROP ROUTINE %s CASCADE', p.oid::regprocedure),
        format('function %s is missing', replace(p.oid::regprocedure::text, 'timestamp with time zone', 'timestamptz'))
    FROM pg_proc AS p
    WHERE p.pronamespace = 'public'::regnamespace AND p.proname <> 'time_bucket'
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype IN ('e', 'i'))
    UNION ALL
    SELECT 'relation ' || c.oid,
        format(
            'DROP %s %s CASCADE',
            CASE
                WHEN c.relkind = 'r' THEN 'TABLE'
                WHEN c.relnamespace = 'public'::regnamespace AND database_edition() = 'community'
                    AND c.relname IN (SELECT rollup FROM rollup_definitions() WHERE refresh_every IS NOT NULL)
                    THEN 'MATERIALIZED VIEW'
                ELSE 'VIEW'
            END,
            c.oid::regclass
        ),
        format('%s %s is missing', CASE c.relkind WHEN 'r' THEN 'table' ELSE 'view' END, c.oid::regclass)
    FROM pg_class AS c
    WHERE c.relnamespace IN ('public'::regnamespace, 'tenant'::regnamespace, 'tenant_load'::regnamespace) AND c.relkind IN ('r', 'v')
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
COLUMNS = """
    WITH columns AS (
        SELECT c.oid::regclass AS relation, a.attname, a.attnotnull, a.atthasdef,
            EXISTS (
                SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey::int2[])
            ) AS is_key
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
    )
"""


@pytest.mark.slow
def test_each_object_that_is_lost_is_missed(
    database: DatabaseManager, session: Any, complaint: Callable[[str], str]
) -> None:
    losses: dict[str, list[tuple[str, str]]] = {}
    with session.cursor() as cursor:
        cursor.execute(COLUMNS + LOSSES)
        for group, sql, expected in cursor.fetchall():
            losses.setdefault(group, []).append((sql, expected))
    assert sum(map(len, losses.values())) > 600
    silent, kept = [], []
    for group in losses.values():
        script = "; ".join(sql for sql, _ in group)
        if schema.edition(database) == "community" and (
            "TABLE resource_metrics DROP COLUMN" in script or "ROUTINE add_samples(" in script
        ):
            # It is not read in real time, so dropping a column affects no view.
            script = f"DROP MATERIALIZED VIEW resource_samples_hourly CASCADE; {script}"
        try:
            said = complaint(script)
        except psycopg2.errors.DependentObjectsStillExist:
            kept.append(script)  # TimescaleDB protects the sources of a rollup: they cannot be dropped
            continue
        finally:
            session.rollback()
        silent += [f"{sql}: {expected}" for sql, expected in group if expected not in said]
    assert silent == []
    assert len(kept) <= 5 if schema.edition(database) == "community" else kept == []


def test_several_at_once_are_all_named(complaint: Callable[[str], str]) -> None:
    said = complaint(
        "DROP VIEW tenant.alerts; DROP TRIGGER alerts_announce ON alerts; COMMENT ON COLUMN alerts.title IS NULL"
    )
    assert said.startswith("3 things are missing or wrong")
    for part in (
        "view tenant.alerts is missing",
        "trigger alerts_announce",
        "column alerts.title has no comment",
    ):
        assert part in said


def test_a_database_without_the_schema_is_told_so(server_url: str) -> None:
    with fresh_database(server_url) as url, DatabaseManager(url) as db:
        with pytest.raises(SchemaError) as caught:
            schema.verify(db)
        assert "table organizations is missing" in str(caught.value)


def test_logins_are_looked_at(
    database: DatabaseManager, complaint: Callable[[str], str], session: Any
) -> None:
    prepare = (
        "INSERT INTO organizations (organization_id, name, industry) VALUES ('11111111-0000-4000-8000-000000000001', 'x', 'x'); "
        "CALL create_tenant_login('11111111-0000-4000-8000-000000000001', 'verify_test_login', 'a_long_password'); "
    )
    assert complaint(prepare) == ""
    session.rollback()
    for sql, expected in (
        ("DROP OWNED BY verify_test_login; DROP ROLE verify_test_login", "login verify_test_login of tenant_logins is not a role"),
        ("GRANT barnameh_tenant TO verify_test_login", "login verify_test_login may act for any organization"),
        ("REVOKE barnameh_tenant_login FROM verify_test_login", "login verify_test_login is not a member"),
    ):  # fmt: skip
        assert expected in complaint(prepare + sql)
        session.rollback()


def test_the_contract_is_what_the_catalog_says(database: DatabaseManager) -> None:
    """Additions to the schema need `make docs`, or this fails; every edition has the same contract."""
    if edition(database) == "citus":
        pytest.skip("some constraints are not there: sql/idempotent/92_citus.sql")
    assert contract.verify_file(database) == VERIFY
    assert contract.objects_file(database) == contract.OBJECTS.read_text(encoding="utf-8")
