"""Attempts to become another role, to choose the organization, and to plant code that others will run."""

from __future__ import annotations

from typing import Any

from tests.integration.schema.isolation.attackers import Attacker
from tests.integration.schema.isolation.catalog import SAMPLE, View
from tests.integration.schema.isolation.population import Organization


def become(attacker: Attacker, roles: list[str]) -> None:
    """SET ROLE, RESET ROLE, SET SESSION AUTHORIZATION and grants, each followed by reads."""
    category = "roles"
    for role in roles:
        for sql in (
            f'SET ROLE "{role}"',
            f'SET LOCAL ROLE "{role}"',
            f'SET SESSION AUTHORIZATION "{role}"',
            f"SELECT set_config('role', '{role}', false)",
            f"SELECT set_config('session_authorization', '{role}', false)",
            f'GRANT "{role}" TO CURRENT_USER',
            f'GRANT CURRENT_USER TO "{role}" WITH ADMIN OPTION',
            f"ALTER ROLE \"{role}\" PASSWORD 'mine_now_mine_now'",
            f'ALTER ROLE "{role}" SET search_path = pg_temp',
            f'ALTER ROLE "{role}" RENAME TO mine_now',
            f'DROP ROLE "{role}"',
            f'DROP OWNED BY "{role}"',
            f'REASSIGN OWNED BY "{role}" TO CURRENT_USER',
            f'ALTER DEFAULT PRIVILEGES FOR ROLE "{role}" GRANT ALL ON TABLES TO PUBLIC',
            f"COMMENT ON ROLE \"{role}\" IS 'mine'",
            f'CREATE TEMP TABLE planted (x integer); ALTER TABLE planted OWNER TO "{role}"; DROP TABLE planted',
        ):
            if role == "barnameh_tenant" and attacker.chooses_organization and "DEFAULT PRIVILEGES" in sql:
                continue  # this role may; it concerns only objects that the role creates later
            if role == attacker.role and "PASSWORD" in sql:
                continue  # its own, which is not an attack
            attacker.attempt(category, sql)
            _look(attacker, category)
        attacker.quietly(f'ALTER ROLE "{attacker.role}" SET search_path = tenant, public, pg_temp')
        attacker.leave()
    for sql in (
        "RESET ROLE",
        "SET ROLE NONE",
        "RESET SESSION AUTHORIZATION",
        "RESET ALL",
        "DISCARD ALL",
        "SET ROLE DEFAULT",
    ):
        attacker.attempt(category, sql)
        _look(attacker, category)
        attacker.leave()


def _look(attacker: Attacker, category: str) -> None:
    for name in SAMPLE:
        attacker.attempt(category, f"SELECT * FROM tenant.{name}")
        attacker.attempt(category, f"SELECT * FROM public.{name}")


def claim(attacker: Attacker, foreign: Organization) -> None:
    """Every way to choose the organization, for a login that may not."""
    if attacker.chooses_organization:
        return
    category = "claims to be another organization"
    other = foreign.organization_id
    for sql in (
        f"SET app.organization_id = '{other}'",
        f"SET SESSION app.organization_id = '{other}'",
        f"BEGIN; SET LOCAL app.organization_id = '{other}'",
        f"SELECT set_config('app.organization_id', '{other}', false)",
        f"SELECT set_config('app.organization_id', '{other}', true), count(*) FROM tenant.locations",
        f"ALTER ROLE CURRENT_USER SET app.organization_id = '{other}'",
        f"ALTER ROLE ALL SET app.organization_id = '{other}'",
        f"SET app.tenant_id = '{other}'",
        "SET row_security = off",
        "SET session_replication_role = replica",
        "SET timescaledb.restoring = on",
        "SET allow_system_table_mods = on",
        "SET zero_damaged_pages = on",
        "CREATE TEMP TABLE tenant_logins AS SELECT gen_random_uuid() AS organization_id, session_user::name AS role_name; "
        f"UPDATE pg_temp.tenant_logins SET organization_id = '{other}'; SET search_path = pg_temp, tenant, public",
        f"CREATE FUNCTION pg_temp.current_organization_id() RETURNS uuid LANGUAGE sql AS $$ SELECT '{other}'::uuid $$; "
        "SET search_path = pg_temp, tenant, public",
        f"CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT '{other}'::text $$; "
        "SET search_path = pg_temp, pg_catalog, tenant",
        f"INSERT INTO public.tenant_logins (organization_id, role_name) VALUES ('{other}', session_user)",
        f"UPDATE public.tenant_logins SET organization_id = '{other}'",
        "SELECT * FROM public.tenant_logins",
        f"CALL create_tenant_login('{other}', 'planted_login', 'a_long_password')",
        "CALL drop_tenant_login('nobody')",
        "CREATE ROLE planted_login LOGIN IN ROLE barnameh_tenant",
    ):
        attacker.attempt(category, sql)
        for name in SAMPLE:
            attacker.attempt(category, f"SELECT * FROM tenant.{name} WHERE organization_id = %s", [other])
            attacker.attempt(category, f"UPDATE tenant.{name} SET organization_id = organization_id")
        attacker.attempt(category, "SELECT current_organization_id()")
        seen = attacker.quietly("SELECT public.current_organization_id()::text").rows
        if seen and seen != [(attacker.own.organization_id,)]:
            attacker.report(category, f"{sql}: acts for {seen}")
        attacker.leave()
    attacker.quietly("ALTER ROLE CURRENT_USER RESET app.organization_id")


def shadow(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """search_path tricks and temporary objects with the same names."""
    category = "search_path and shadowing"
    for path in (
        "public", "public, tenant", "pg_temp, public", '""', "pg_temp", "_timescaledb_internal, public",
        "pg_temp, pg_catalog, public", "pg_temp, tenant, public, pg_catalog", '"$user", public', "pg_toast",
    ):  # fmt: skip
        for view in views:
            with attacker.transaction():
                attacker.quietly(f"SET LOCAL search_path = {path}")
                attacker.attempt(category, f"SELECT * FROM {view.name}")
    functions = (
        ("demand_forecasts_as_of", "now()"),
        ("demand_forecast_outcomes", "now() - interval '500 days', now()"),
        ("anomaly_predictions_as_of", "now()"),
        ("operational_kpis", "now() - interval '500 days', now(), 'resource'"),
        ("shift_kpis", "now() - interval '500 days', now()"),
        ("get_kpi_summary", "500"),
        ("resource_time_model", "now() - interval '500 days', now()"),
    )
    for path in ("tenant, public, pg_temp", "public", "pg_temp, tenant, public", "pg_temp, public"):
        for name, rest in functions:
            with attacker.transaction():
                attacker.quietly(f"SET LOCAL search_path = {path}")
                attacker.attempt(
                    category, f"SELECT * FROM public.{name}(%s, {rest})", [foreign.organization_id]
                )
                attacker.attempt(
                    category,
                    f"SELECT to_jsonb(r) FROM public.{name}(%s, {rest}) AS r",
                    [foreign.organization_id],
                )
    for view in views:
        for sql in (
            f"CREATE TEMP TABLE {view.name} (LIKE tenant.{view.name} INCLUDING ALL); SELECT * FROM {view.name}",
            f"CREATE TEMP VIEW {view.name} AS SELECT * FROM public.{view.name}; SELECT * FROM pg_temp.{view.name}",
            f"CREATE TEMP VIEW {view.name} WITH (security_barrier = false) AS SELECT * FROM tenant.{view.name}; "
            f"CREATE RULE planted AS ON SELECT TO pg_temp.{view.name} DO INSTEAD SELECT * FROM public.{view.name}",
            f"CREATE TEMP TABLE planted (LIKE tenant.{view.name}); "
            f"CREATE RULE planted AS ON INSERT TO planted DO ALSO DELETE FROM tenant.{view.name} "
            f"WHERE organization_id = '{foreign.organization_id}'; INSERT INTO planted DEFAULT VALUES",
            f"CREATE TEMP TABLE planted (x integer); CREATE RULE planted AS ON UPDATE TO planted "
            f"DO INSTEAD UPDATE public.{view.name} SET organization_id = organization_id; UPDATE planted SET x = 1",
        ):
            with attacker.transaction():
                attacker.attempt(category, sql)


def plant(attacker: Attacker, views: list[View]) -> None:
    """Objects, rights and jobs that would let the attacker in later, or trap others."""
    category = "planting"
    database = attacker.quietly("SELECT current_database()").rows[0][0]
    for schema in ("public", "tenant", "pg_catalog", "_timescaledb_internal", "_timescaledb_functions"):
        for sql in (
            f"CREATE TABLE {schema}.planted (x integer)",
            f"CREATE VIEW {schema}.planted AS SELECT 1 AS x",
            f"CREATE FUNCTION {schema}.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'now'::timestamptz $$",
            f"CREATE TYPE {schema}.planted AS (x integer)",
            f"CREATE SEQUENCE {schema}.planted",
            f"ALTER SCHEMA {schema} OWNER TO CURRENT_USER",
            f"GRANT ALL ON SCHEMA {schema} TO CURRENT_USER",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO CURRENT_USER",
            f"DROP SCHEMA {schema} CASCADE",
        ):
            attacker.attempt(category, sql)
    for view in views:
        for sql in (
            f"CREATE OR REPLACE VIEW tenant.{view.name} AS SELECT * FROM public.{view.name}",
            f"ALTER VIEW tenant.{view.name} RESET (security_barrier)",
            f"ALTER VIEW tenant.{view.name} SET (security_invoker = true)",
            f"CREATE RULE planted AS ON INSERT TO tenant.{view.name} DO INSTEAD NOTHING",
            f"CREATE INDEX ON public.{view.name} (organization_id)",
            f"CREATE STATISTICS ON organization_id, ctid FROM public.{view.name}",
            f"ANALYZE public.{view.name}",
            f"COMMENT ON VIEW tenant.{view.name} IS 'mine'",
            f"GRANT SELECT ON tenant.{view.name} TO PUBLIC",
            f"GRANT SELECT ON public.{view.name} TO CURRENT_USER",
            f"ALTER TABLE public.{view.name} DROP CONSTRAINT {view.name}_organization_id_is_tenants_own_check",
            f"CREATE TRIGGER planted INSTEAD OF INSERT ON tenant.{view.name} FOR EACH ROW EXECUTE FUNCTION refuse_update()",
            f"CREATE TRIGGER planted BEFORE INSERT ON public.{view.name} FOR EACH ROW EXECUTE FUNCTION refuse_update()",
        ):
            attacker.attempt(category, sql)
    other: list[tuple[str, Any]] = [
        ("CREATE EXTENSION dblink", None),
        ("CREATE EXTENSION file_fdw", None),
        ("DROP EXTENSION timescaledb", None),
        ("CREATE SERVER planted FOREIGN DATA WRAPPER postgres_fdw", None),
        ("CREATE PUBLICATION planted FOR ALL TABLES", None),
        ("CREATE SUBSCRIPTION planted CONNECTION '' PUBLICATION planted WITH (connect = false)", None),
        ("CREATE EVENT TRIGGER planted ON ddl_command_start EXECUTE FUNCTION process_ddl_event()", None),
        ("CREATE LANGUAGE c", None),
        ("CREATE FUNCTION pg_temp.planted() RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'x'", None),
        ("CREATE FUNCTION pg_temp.calm(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS 'SELECT true'", None),
        ("LOAD 'file_fdw'", None),
        (f'ALTER DATABASE "{database}" SET search_path = pg_temp', None),
        (f'CREATE DATABASE planted TEMPLATE "{database}"', None),
        (f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER', None),
        ("ALTER SYSTEM SET log_statement = 'all'", None),
        ("CHECKPOINT", None),
        ("VACUUM public.locations", None),
        ("REINDEX TABLE public.locations", None),
        ("CLUSTER public.locations", None),
        ("REFRESH MATERIALIZED VIEW public.operational_events_hourly", None),
        (
            "ALTER MATERIALIZED VIEW operational_events_hourly SET (timescaledb.materialized_only = true)",
            None,
        ),
        ("ALTER TABLE public.operational_events SET (timescaledb.enable_columnstore = false)", None),
        ("ALTER TYPE public.uuidrange OWNER TO CURRENT_USER", None),
        ("ALTER FUNCTION current_organization_id() IMMUTABLE", None),
        ("ALTER FUNCTION current_organization_id() LEAKPROOF", None),
        ("SELECT add_job('refresh_rollups', interval '1 hour')", None),
        ("SELECT add_job('_timescaledb_functions.policy_retention'::regproc, interval '1 hour')", None),
        ("SELECT alter_job(1000, scheduled => false)", None),
        ("SELECT delete_job(1000)", None),
        ("CALL run_job(1000)", None),
        ("SELECT drop_chunks('public.operational_events', older_than => interval '1 day')", None),
        ("SELECT compress_chunk(c) FROM show_chunks('public.operational_events') AS c", None),
        ("SELECT decompress_chunk(c) FROM show_chunks('public.operational_events') AS c", None),
        ("SELECT add_retention_policy('public.operational_events', interval '1 day')", None),
        ("CALL refresh_continuous_aggregate('public.operational_events_hourly', NULL, NULL)", None),
        ("CALL set_retention('public.operational_events', interval '1 year')", None),
        ("CALL refresh_rollups()", None),
    ]
    for sql, parameters in other:
        attacker.attempt(category, sql, parameters)
