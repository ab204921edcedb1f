"""Attempts to overhear: notifications, statistics, other sessions, locks, sequences, large objects, leftovers."""

from __future__ import annotations

from typing import Any

from tests.integration.schema.isolation.attackers import Attacker
from tests.integration.schema.isolation.catalog import Relation, View
from tests.integration.schema.isolation.population import Organization


def listen(attacker: Attacker, owner: Any, foreign: Organization) -> None:
    """Channels whose names can be guessed, while the other organization raises an alert."""
    category = "notifications"
    kinds = ("alerts", "anomalies", "predictions", "changes")
    guesses = [
        f"{kind}{tail}"
        for kind in kinds
        for tail in (
            "", "_", f"_{foreign.organization_id}", "_" + foreign.organization_id.replace("-", ""),
            *(f"_{foreign.identifier(n, hidden=False).replace('-', '')}" for n in range(1, 13)),
        )
    ]  # fmt: skip
    for kind in kinds:
        for organization_id in (foreign.organization_id, None):
            outcome = attacker.attempt(
                category, "SELECT notification_channel(%s, %s)", [kind, organization_id]
            )
            channel = outcome.rows[0][0] if outcome.rows else None
            if channel is not None:
                attacker.report(category, f"named the channel {channel} of another organization")
                guesses.append(channel)
    for guess in guesses:
        attacker.attempt(category, f'LISTEN "{guess}"')
    for sql in ("LISTEN *", "SELECT * FROM pg_listening_channels()", "SELECT pg_notification_queue_usage()"):
        attacker.attempt(category, sql)
    with owner.cursor() as cursor:
        cursor.execute(
            "INSERT INTO public.alerts (organization_id, severity, alert_type, title) "
            "VALUES (%s, 'high', 'zqsecret', 'zqsecret') RETURNING alert_id",
            [foreign.organization_id],
        )
        alert = cursor.fetchone()
        cursor.execute("DELETE FROM public.alerts WHERE alert_id = %s", alert)
        # Its changes for that organization's copies.
        cursor.execute("DELETE FROM public.sync_outbox WHERE entity_key = %s::text", alert)
    for _ in range(3):
        attacker.attempt(category, "SELECT 1")
    for arrived in attacker.heard():
        attacker.report(category, f"heard {arrived.channel}: {arrived.payload}")


def watch(attacker: Attacker, foreign: Organization, busy: Any) -> None:
    """Statistics, and what another organization's session (`busy`) is doing at the moment."""
    category = "statistics and activity"
    with busy.cursor() as cursor:
        cursor.execute("DISCARD ALL")
        cursor.execute("PREPARE looked (text) AS SELECT $1, 'zqsecret prepared'")
        cursor.execute("DECLARE held CURSOR WITH HOLD FOR SELECT * FROM public.locations")
        cursor.execute("CREATE TEMP TABLE busy_table AS SELECT * FROM public.locations")
        cursor.execute("SELECT 'zqsecret in the text of a statement'")
    for sql in (
        "SELECT * FROM pg_stats", "SELECT * FROM pg_stats_ext", "SELECT * FROM pg_stats_ext_exprs",
        "SELECT * FROM pg_statistic", "SELECT * FROM pg_statistic_ext_data", "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_stat_get_activity(NULL)", "SELECT * FROM pg_stat_statements", "SELECT * FROM pg_locks",
        "SELECT pg_stat_get_backend_activity(id) FROM pg_stat_get_backend_idset() AS id",
        "SELECT * FROM pg_prepared_statements", "SELECT * FROM pg_cursors", "SELECT * FROM pg_prepared_xacts",
        "SELECT * FROM pg_stat_user_tables", "SELECT * FROM pg_stat_progress_copy", "SELECT * FROM pg_settings",
        "SELECT * FROM pg_file_settings", "SELECT * FROM pg_hba_file_rules", "SELECT * FROM pg_shadow",
        "SELECT * FROM pg_authid", "SELECT * FROM pg_user_mapping", "SELECT * FROM pg_backend_memory_contexts",
        "SELECT * FROM timescaledb_information.job_errors", "SELECT * FROM timescaledb_information.jobs",
        "SELECT * FROM timescaledb_information.chunks", "EXECUTE looked('x')", "FETCH ALL FROM held",
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()", "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')", "SELECT pg_stat_file('PG_VERSION')", "SELECT pg_current_logfile()",
        "SELECT * FROM pg_ls_logdir()", "SELECT * FROM pg_ls_waldir()", "SELECT pg_log_backend_memory_contexts(1)",
    ):  # fmt: skip
        attacker.attempt(category, sql)
    process_id = busy.info.backend_pid
    for sql in (f"SELECT pg_cancel_backend({process_id})", f"SELECT pg_terminate_backend({process_id})"):
        attacker.attempt(category, sql)
    with busy.cursor() as cursor:
        cursor.execute("SELECT pg_my_temp_schema()::regnamespace::text")
        (schema,) = cursor.fetchone()
    for sql in (
        f"SELECT * FROM {schema}.busy_table", f"INSERT INTO {schema}.busy_table SELECT * FROM tenant.locations",
        f"DROP TABLE {schema}.busy_table", f"CREATE TABLE {schema}.planted (x integer)",
    ):  # fmt: skip
        attacker.attempt(category, sql)


def count_sequences(attacker: Attacker, relations: list[Relation]) -> None:
    """Every sequence, by every function that reads or advances one."""
    sequences = [relation for relation in relations if relation.kind == "S"]
    for relation in sequences:
        for sql in (
            f"SELECT * FROM {relation.sql}",
            f"SELECT nextval('{relation.sql}')",
            f"SELECT setval('{relation.sql}', 1)",
            f"SELECT currval('{relation.sql}')",
            f"ALTER SEQUENCE {relation.sql} RESTART",
        ):
            attacker.attempt("sequences", sql)
    attacker.attempt("sequences", "SELECT lastval()")
    attacker.attempt("sequences", "SELECT * FROM pg_sequences")


def large_objects(attacker: Attacker, owner: Any) -> None:
    """Another organization's large object, and own objects to pass to sessions with the same role."""
    category = "large objects"
    with owner.cursor() as cursor:
        cursor.execute("SELECT lo_from_bytea(0, 'zqsecret in a large object')")
        (oid,) = cursor.fetchone()
    try:
        for sql in (
            f"SELECT lo_get({oid})", f"SELECT lo_open({oid}, 262144)", f"SELECT lo_put({oid}, 0, 'x')",
            f"SELECT lo_unlink({oid})", f"SELECT lo_export({oid}, '/tmp/out')", f"ALTER LARGE OBJECT {oid} OWNER TO CURRENT_USER",
            f"GRANT SELECT ON LARGE OBJECT {oid} TO CURRENT_USER", f"COMMENT ON LARGE OBJECT {oid} IS 'mine'",
            f"SELECT loread(lo_open({oid}, 262144), 100)", "SELECT * FROM pg_largeobject", "SELECT * FROM pg_largeobject_metadata",
            "SELECT lo_creat(-1)", "SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')", "SELECT lo_import('/etc/hostname')",
        ):  # fmt: skip
            attacker.attempt(category, sql)
    finally:
        with owner.cursor() as cursor:
            cursor.execute("SELECT lo_unlink(%s)", [oid])


def share_a_session(attacker: Attacker, owner_session: Any, views: list[View], foreign: Organization) -> None:
    """One pooled session serves two tenants in turn: a plan made for one runs for the other."""
    category = "one session, two tenants"

    def act_for(organization: Organization) -> None:
        with owner_session.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SET LOCAL ROLE barnameh_tenant; SET LOCAL search_path = tenant, public, pg_temp")
            cursor.execute(
                "SELECT set_config('app.organization_id', %s, true)", [organization.organization_id]
            )

    def run(sql: str) -> str:
        attacker.count(category)
        with owner_session.cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.fetchall())

    with owner_session.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = force_generic_plan")
    kpis = "SELECT * FROM get_kpi_summary((SELECT organization_id FROM organizations), 500)"
    for view in views:
        for sql in (f"SELECT * FROM {view.name}", f"SELECT * FROM tenant.{view.name}", kpis):
            act_for(foreign)
            with owner_session.cursor() as cursor:
                cursor.execute(f"PREPARE shared AS {sql}")
            theirs = run("EXECUTE shared")
            with owner_session.cursor() as cursor:
                cursor.execute("COMMIT")
            act_for(attacker.own)
            mine, fresh = run("EXECUTE shared"), run(sql)
            with owner_session.cursor() as cursor:
                cursor.execute("COMMIT; DEALLOCATE shared")
            if mine != fresh or (mine == theirs and sql != kpis):
                attacker.report(
                    category, f"{sql}: the plan made for another organization answered with its rows"
                )
