"""The schema on a coordinator with two workers: applied, applied again, verified on every node."""

from __future__ import annotations

import re

import psycopg2
import pytest

from db_utils import DatabaseManager, schema
from db_utils.errors import SchemaError


def _on(url: str, sql: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def test_every_table_of_tenants_is_distributed_by_organization(citus: DatabaseManager) -> None:
    assert schema.edition(citus) == "citus"
    undistributed = citus.execute_query(
        "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'organization_id' "
        "LEFT JOIN citus_tables AS t ON t.table_name = c.oid AND t.distribution_column = 'organization_id' "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'tenant_logins' AND t.table_name IS NULL"
    )
    groups = citus.execute_query("SELECT count(*), count(DISTINCT colocation_id) AS groups FROM citus_tables")
    assert (undistributed, groups[0]["groups"]) == ([], 1)
    assert groups[0]["count"] >= 40


def test_the_largest_statements_of_kpis_are_planned_once_a_session(citus: DatabaseManager) -> None:
    """They join no distributed table, for Citus would plan them at each call: what they read comes from functions."""
    tables = {row["name"] for row in citus.execute_query("SELECT table_name::text AS name FROM citus_tables")}
    found = citus.execute_query(
        "SELECT p.proname AS name, p.prosrc AS source, p.proconfig AS settings FROM pg_proc AS p "
        "WHERE p.proname IN ('resource_time_raw', 'time_kpis', 'kpis_by_part', 'shift_seconds') ORDER BY p.proname"
    )
    read = {row["name"]: tables & set(re.findall(r"(?:FROM|JOIN)\s+(\w+)", row["source"])) for row in found}
    # One statement of kpis_by_part reads this table alone: the plans of such statements are kept.
    assert read == {
        "kpis_by_part": {"employee_attendance"},
        "resource_time_raw": set(),
        "shift_seconds": set(),
        "time_kpis": set(),
    }
    assert all("plan_cache_mode=force_generic_plan" in row["settings"] for row in found)


def test_it_can_be_applied_again(citus: DatabaseManager) -> None:
    schema.apply(citus)
    assert schema.problems(citus) == []


def test_verify_names_the_node_where_something_is_missing(
    citus: DatabaseManager, cluster_urls: list[str]
) -> None:
    """As on a node added after the schema was applied: applying it again fixes it."""
    _on(cluster_urls[2], "GRANT EXECUTE ON FUNCTION run_command_on_workers(text, boolean) TO PUBLIC")
    _on(
        cluster_urls[1],
        "SET citus.enable_ddl_propagation = off; REVOKE SELECT ON operational_events_hourly FROM barnameh_tenant",
    )
    found = schema.problems(citus)
    assert len(found) == 2
    assert any("PUBLIC may call run_command_on_workers" in line for line in found)
    assert any("barnameh_tenant lacks SELECT on operational_events_hourly" in line for line in found)
    schema.apply(citus)
    assert schema.problems(citus) == []


def test_a_policy_that_shows_more_is_found(citus: DatabaseManager) -> None:
    citus.execute("CREATE POLICY leak ON alerts TO barnameh_tenant USING (true)")
    try:
        assert schema.problems(citus) == ["alerts has a policy for barnameh_tenant: true"]
    finally:
        citus.execute("DROP POLICY leak ON alerts")


def test_a_worker_refuses_to_be_made_a_coordinator(cluster_urls: list[str]) -> None:
    with (
        DatabaseManager(cluster_urls[1]) as worker,
        pytest.raises(SchemaError, match="Connect to the coordinator"),
    ):
        schema.apply(worker)
