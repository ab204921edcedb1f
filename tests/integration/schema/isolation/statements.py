"""Attempts with other statements: COPY, cursors, prepared statements, triggers, locks, debug output, counters, limits."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

from psycopg2.extras import Json

from tests.integration.schema.isolation.attackers import Attacker, Outcome
from tests.integration.schema.isolation.catalog import Relation, View
from tests.integration.schema.isolation.population import Organization, Row
from tests.integration.schema.isolation.writing import READ_ONLY, baits, forged_and_absent, insertion

# Stronger locks keep others from reading or writing; read access to a view must not allow them.
_READERS_MODES = ("ACCESS SHARE",)
_MODES = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)  # fmt: skip


def copy_rows(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """COPY whole rows of another organization into every view: a view with a trigger accepts COPY."""
    category = "rows by COPY"
    for view in views:
        for row in baits(attacker, view, foreign):
            names = ", ".join(f'"{name}"' for name in row)
            for options in ("FORMAT csv", "FORMAT csv, FREEZE", "FORMAT text"):
                outcome = attacker.attempt(
                    category, f"COPY {view.sql} ({names}) FROM STDIN ({options})", _line(row, options)
                )
                if outcome.worked:
                    attacker.report(category, f"COPY into {view.sql} took a row of another organization")


def _line(row: Row, options: str) -> str:
    texts = ["\\N" if value is None else _text(value) for value in row.values()]
    if options == "FORMAT text":
        return (
            "\t".join(
                text.replace("\t", " ") if text == "\\N" else text.replace("\\", "\\\\") for text in texts
            )
            + "\n"
        )
    return ",".join("" if text == "\\N" else '"' + text.replace('"', '""') + '"' for text in texts) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, Json):
        return json.dumps(value.adapted)
    if isinstance(value, dict):
        return json.dumps(value)
    if isinstance(value, list):
        return "{" + ",".join(f'"{item}"' for item in value) + "}"
    return str(value)


def keep_open(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """Cursors and prepared statements: what they see, also after the session acts for none or for another organization."""
    category = "cursors and prepared statements"
    other = foreign.organization_id
    for view in views:
        with attacker.transaction():
            attacker.quietly(
                f"DECLARE peep CURSOR FOR SELECT * FROM {view.sql} WHERE organization_id = '{other}'"
            )
            attacker.attempt(category, "FETCH ALL FROM peep")
        for statement in (f"UPDATE {view.sql} SET organization_id = '{other}'", f"DELETE FROM {view.sql}"):
            with attacker.transaction():
                attacker.quietly(f"DECLARE peep CURSOR FOR SELECT * FROM {view.sql} FOR UPDATE")
                attacker.quietly("FETCH peep")
                outcome = attacker.attempt(category, f"{statement} WHERE CURRENT OF peep")
                if outcome.worked and statement.startswith("UPDATE"):
                    attacker.report(
                        category, f"{view.sql}: a row under a cursor moved to another organization"
                    )
        for mode in ("force_custom_plan", "force_generic_plan"):
            attacker.quietly(f"SET plan_cache_mode = {mode}")
            attacker.quietly(f"PREPARE peep (uuid) AS SELECT * FROM {view.sql} WHERE organization_id = $1")
            attacker.attempt(category, f"EXECUTE peep ('{other}')")
            attacker.attempt(category, f"CREATE TEMP TABLE peeped AS EXECUTE peep ('{other}')")
            attacker.attempt(category, "SELECT * FROM pg_temp.peeped")
            attacker.quietly("DROP TABLE IF EXISTS pg_temp.peeped")
            attacker.attempt(category, f"EXPLAIN (ANALYZE, VERBOSE) EXECUTE peep ('{other}')")
            attacker.quietly("DEALLOCATE ALL")
    attacker.leave()


def fire(attacker: Attacker, owner: Any, views: list[View], foreign: Organization) -> None:
    """Every trigger function of the schema, on the attacker's own table with rows under another organization's keys."""
    category = "trigger functions"
    with owner.cursor() as cursor:
        cursor.execute(
            "SELECT p.oid::regproc::text, p.prosecdef, min(c.relname) FROM pg_proc AS p LEFT JOIN pg_trigger AS t ON t.tgfoid = p.oid "
            "LEFT JOIN pg_class AS c ON c.oid = t.tgrelid AND c.relnamespace = 'public'::regnamespace "
            "WHERE p.pronamespace = 'public'::regnamespace AND p.prorettype = 'trigger'::regtype GROUP BY p.oid ORDER BY 1"
        )
        functions = cursor.fetchall()
    rows = {view.name: baits(attacker, view, foreign)[0] for view in views if foreign.known.get(view.name)}
    for function, is_definer, table in functions:
        like = table if table in rows else "locations"
        for timing, level in (("BEFORE", "ROW"), ("AFTER", "ROW"), ("AFTER", "STATEMENT")):
            with attacker.transaction():
                attacker.quietly(f"CREATE TEMP TABLE planted (LIKE tenant.{like})")
                tables = " REFERENCING NEW TABLE AS new_rows" if level == "STATEMENT" else ""
                planted = attacker.attempt(
                    category,
                    f"CREATE TRIGGER planted {timing} INSERT ON planted{tables} FOR EACH {level} EXECUTE FUNCTION {function}()",
                )
                if planted.worked and is_definer:
                    attacker.report(
                        category, f"{function} runs with the owner's rights on a table of the attacker's"
                    )
                attacker.attempt(category, *insertion("planted", rows[like], " RETURNING *"))


def lock(attacker: Attacker, views: list[View], relations: list[Relation]) -> None:
    """LOCK TABLE in every mode: on read-only relations none that blocks others, without rights none at all."""
    category = "locks of tables"
    for view in views:
        for mode in _MODES:
            with attacker.transaction():
                taken = attacker.attempt(category, f"LOCK TABLE {view.sql} IN {mode} MODE NOWAIT")
            if taken.worked and mode not in _READERS_MODES and (not view.is_table or view.name in READ_ONLY):
                attacker.report(category, f"{view.sql} can only be read, and was locked in {mode} mode")
    for relation in relations:
        if relation.kind not in ("r", "p") or relation.family == "system catalogs":
            continue
        with attacker.transaction():
            if attacker.attempt(category, f"LOCK TABLE {relation.sql} IN ACCESS SHARE MODE NOWAIT").worked:
                attacker.report(category, f"{relation.sql} was locked")


_TALKATIVE = (
    "client_min_messages = debug5", "debug_print_parse = on", "debug_print_rewritten = on", "debug_print_plan = on",
    "plpgsql.print_strict_params = on", "trace_sort = on", "log_parser_stats = on", "timescaledb.debug_compression_path_info = on",
)  # fmt: skip


def debug(attacker: Attacker, views: list[View]) -> None:
    """Own rows read, written and deleted with all debug output of the server."""
    category = "debug output"
    for setting in _TALKATIVE:
        attacker.quietly(f"SET {setting}")
    for view in views:
        with attacker.transaction():
            attacker.attempt(category, f"SELECT * FROM {view.sql} LIMIT 3")
            if view.is_table and view.name not in READ_ONLY:
                attacker.attempt(category, f"UPDATE {view.sql} SET organization_id = organization_id")
        with attacker.transaction():
            if view.is_table and view.name not in READ_ONLY:
                attacker.attempt(category, f"DELETE FROM {view.sql}")
        for row in attacker.own.known.get(view.name, [])[:1]:
            with attacker.transaction():
                attacker.attempt(category, *insertion(view.sql, row))
    attacker.leave()


def refusals(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """The whole error, including detail, hint, context and names: the same for an existing key and a missing one."""
    category = "refusals in full"
    for view in views:
        for key, row, absent in forged_and_absent(attacker, view, foreign):
            said = {
                _said(attacker.attempt(category, *insertion(view.sql, candidate)), candidate)
                for candidate in (row, absent)
            }
            if len(said) > 1:
                attacker.report(category, f"INSERT INTO {view.sql} by {key}: {sorted(said)}")


def _said(outcome: Outcome, row: Row) -> str:
    """The error without the attacker's own values."""
    text = f"{outcome.sqlstate} {outcome.message} {outcome.row_count} {outcome.detail}".replace(
        " unheard of", ""
    )
    for value in row.values():
        if isinstance(value, str) and len(value) > 2:
            text = text.replace(value.replace(" unheard of", ""), "?")
    return re.sub(r"\d+", "0", re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "?", text))


def change(attacker: Attacker, foreign: Organization) -> None:
    """The functions that change master data with the owner's rights: with other organizations, ids, columns and names."""
    category = "functions with the owner's rights"
    for table, column in (
        ("resources", "resource_id"),
        ("employees", "employee_id"),
        ("locations", "location_id"),
    ):
        theirs, absent = str(foreign.known[table][0][column]), str(uuid.uuid4())
        place = str(foreign.known["locations"][0]["location_id"])
        changes = (
            {}, {"name": "taken"}, {"full_name": "taken"}, {"organization_id": foreign.organization_id}, {"location_id": place},
            {"timezone": "UTC"}, {"name = name RETURNING *; --": 1}, {column: theirs},
        )  # fmt: skip
        for organization in (attacker.own.organization_id, foreign.organization_id, str(uuid.uuid4())):
            for given in changes:
                for moment in ("NULL", "'2001-02-03'", "'-infinity'"):
                    sql = f"SELECT * FROM public.change_{table[:-1]}(%s, %s, %s, {moment})"
                    answers = {
                        _said(attacker.attempt(category, sql, [organization, one, json.dumps(given)]), {})
                        for one in (theirs, absent)
                    }
                    if len(answers) > 1:
                        attacker.report(category, f"{sql} {organization} {given}: {sorted(answers)}")


def limits(attacker: Attacker, owner: Any) -> None:
    """Limits that the login may not lift, and all roles of which it is not a member."""
    category = "limits and attributes of roles"
    with owner.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles ORDER BY 1")
        roles = [name for (name,) in cursor.fetchall()]
    before = _limits(owner, attacker.role)
    for change in (
        "CONNECTION LIMIT 1000", "VALID UNTIL 'infinity'", "SUPERUSER", "BYPASSRLS", "REPLICATION", "CREATEDB", "CREATEROLE",
        "SET temp_file_limit = -1", "RESET temp_file_limit", "RESET ALL", "SET session_preload_libraries = 'auto_explain'",
        "SET role = 'barnameh_user'", "SET log_min_duration_statement = -1",
    ):  # fmt: skip
        attacker.attempt(category, f'ALTER ROLE "{attacker.role}" {change}')
    attacker.quietly(f'ALTER ROLE "{attacker.role}" SET search_path = tenant, public, pg_temp')
    attacker.leave()
    if attacker.quietly("SELECT session_user").rows != [(attacker.role,)]:
        attacker.report(category, "the login is someone else from the start")
    attacker.quietly(f'ALTER ROLE "{attacker.role}" RESET role')
    if _limits(owner, attacker.role) != before:
        attacker.report(category, f"{before} became {_limits(owner, attacker.role)}")
    own = {attacker.role, *(("barnameh_tenant",) if attacker.chooses_organization else ())}
    for role in roles:
        for sql in (
            f'SET ROLE "{role}"',
            f'SET SESSION AUTHORIZATION "{role}"',
            f'GRANT "{role}" TO CURRENT_USER',
        ):
            outcome = attacker.attempt(category, sql)
            if outcome.worked and role not in own:
                attacker.report(category, f"{sql} worked")
        attacker.leave()


def _limits(owner: Any, role: str) -> Any:
    with owner.cursor() as cursor:
        cursor.execute(
            "SELECT r.rolsuper, r.rolbypassrls, r.rolreplication, r.rolcreatedb, r.rolcreaterole, r.rolconnlimit, r.rolvaliduntil, "
            "(SELECT array_agg(c ORDER BY c) FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c WHERE s.setrole = r.oid AND c ~ "
            "'^(temp_file_limit|log_|session_preload)') FROM pg_roles AS r WHERE r.rolname = %s",
            [role],
        )
        return cursor.fetchone()


def count(attacker: Attacker, relations: list[Relation], busy: Any) -> None:
    """Counters of the schema's sequences, and another session's snapshot: neither reveals rows."""
    category = "counters and snapshots"
    for relation in relations:
        if relation.kind != "S" or relation.schema != "public":
            continue
        for sql in (
            f"SELECT pg_sequence_last_value('{relation.sql}')", f"SELECT last_value FROM {relation.sql}",
            f"SELECT last_value FROM pg_sequences WHERE sequencename = '{relation.name}'",
        ):  # fmt: skip
            outcome = attacker.attempt(category, sql)
            if outcome.worked and any(value is not None for row in outcome.rows for value in row):
                attacker.report(category, f"{sql} told {outcome.rows}")
    with busy.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT pg_export_snapshot()")
        (snapshot,) = cursor.fetchone()
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            with attacker.transaction():
                attacker.quietly(f"SET TRANSACTION ISOLATION LEVEL {level}")
                attacker.attempt(category, f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                for name in ("employees", "demand_history", "sync_outbox"):
                    attacker.attempt(category, f"SELECT * FROM tenant.{name}")
                    attacker.attempt(category, f"SELECT * FROM public.{name}")
        cursor.execute("ROLLBACK")
