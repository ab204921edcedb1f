"""Attempts to write: into, over, from and on top of another organization's rows, and what errors reveal."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.integration.schema.isolation.attackers import Attacker
from tests.integration.schema.isolation.catalog import Relation, View
from tests.integration.schema.isolation.population import HALF_KNOWN, Organization, Row
from tests.integration.schema.isolation.reading import SPIES

_KINDS = {"r": "TABLE", "p": "TABLE", "f": "FOREIGN TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW"}


def insertion(target: str, row: Row, tail: str = "") -> tuple[str, list[Any]]:
    """An INSERT of this row, and its values."""
    names, marks = ", ".join(f'"{name}"' for name in row), ", ".join(["%s"] * len(row))
    alias = " AS t" if tail.startswith(" ON CONFLICT") else ""
    return f"INSERT INTO {target}{alias} ({names}) VALUES ({marks}){tail}", list(row.values())


def other_value(value: Any) -> Any:
    """A value of the same type that no row has."""
    if isinstance(value, datetime | timedelta):
        return value + timedelta(seconds=17)
    if isinstance(value, date):
        return value + timedelta(days=17)
    if isinstance(value, int | Decimal):
        return value + 17
    try:
        uuid.UUID(str(value))
    except ValueError:
        return f"{value} unheard of"
    return str(uuid.uuid4())


def _condition(row: Row, key: tuple[str, ...]) -> tuple[str, list[Any]]:
    return " AND ".join(f'"{column}" = %s' for column in key), [row[column] for column in key]


READ_ONLY = (
    "organizations", "service_schedules", "sync_targets", "sync_outbox", "sync_progress", "sync_rejected",
    "demand_revisions", "api_keys",
)  # fmt: skip
LISTED = ("reason",)  # parts of keys with values limited by a CHECK
TAKEN_AWAY = ("resource_time_marks",)  # by each refresh


def own_rows_work(attacker: Attacker, views: list[View]) -> list[str]:
    """Where the attacker cannot read, change and write back own rows: breaking everything would not be isolation."""
    broken = []
    for view in views:
        name = view.sql
        if view.name not in TAKEN_AWAY and not attacker.quietly(f"SELECT * FROM {name} LIMIT 5").rows:
            broken.append(f"{name}: no row of its own")
        if not view.is_table or view.name in READ_ONLY or view.name not in attacker.own.known:
            continue  # written by the database itself or the operator only
        column = next(
            c
            for c in (
                "metadata",
                "status",
                "error_message",
                "connector",
                "name",
                "created_at",
                "reason",
                "config",
            )
            if c in view.columns
        )
        with attacker.transaction():
            updated = attacker.quietly(f"UPDATE {name} SET {column} = {column}")
        refuses_update = "append-only" in updated.message
        if not refuses_update and updated.row_count < 1:
            broken.append(f"{name}: UPDATE {updated.sqlstate} {updated.message}")
        for row in attacker.own.known[view.name]:
            with attacker.transaction():
                written = attacker.quietly(*insertion(name, _named(attacker, view, _fresh(view, row))))
            if written.sqlstate not in (
                None,
                "23505",
            ):  # an existing key is checked after the organization
                broken.append(f"{name}: INSERT {written.sqlstate} {written.message}")
    return broken


def _fresh(view: View, row: Row) -> Row:
    """The same row under keys that no row has, with the same organization and references."""
    referring = {column for columns, _, _ in view.references for column in columns}
    free = {column for key in view.keys for column in key} - referring - {"organization_id", *LISTED}
    return {column: other_value(value) if column in free else value for column, value in row.items()}


def _named(attacker: Attacker, view: View, row: Row) -> Row:
    """The row as this attacker may write it: a customer's login does not give the organization there."""
    if view.schema != "tenant_load" or attacker.chooses_organization:
        return row
    return {column: value for column, value in row.items() if column != "organization_id"}


def baits(attacker: Attacker, view: View, foreign: Organization) -> list[Row]:
    """The attacker's rows under the keys and references of the other organization's known rows."""
    named = {column for key in view.keys for column in key}
    named |= {column for columns, _, _ in view.references for column in columns}
    pairs = zip(attacker.own.known.get(view.name, []), foreign.known.get(view.name, []), strict=True)
    return [
        {column: theirs[column] if column in named else value for column, value in mine.items()}
        for mine, theirs in pairs
    ]


def forged_and_absent(
    attacker: Attacker, view: View, foreign: Organization
) -> Iterator[tuple[tuple[str, ...], Row, Row]]:
    """Each key of a view, with a row under the other organization's value, and the same row under an unused value."""
    for row in baits(attacker, view, foreign):
        for key in view.keys:
            if set(key) <= row.keys() and key != ("organization_id",):
                yield key, row, {**row, key[-1]: other_value(row[key[-1]])}


def write_into(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """INSERT, UPDATE, DELETE, MERGE and COPY on rows of another organization, through views and tables."""
    for view in views:
        for target in (view.sql, f"public.{view.name}"):
            category = "write foreign rows"
            for column in view.columns:
                attacker.attempt(
                    category,
                    f'UPDATE {target} SET "{column}" = "{column}" WHERE organization_id = %s RETURNING *',
                    [foreign.organization_id],
                )
                attacker.attempt(
                    category,
                    f'UPDATE {target} SET "{column}" = DEFAULT WHERE organization_id = %s',
                    [foreign.organization_id],
                )
            attacker.attempt(
                category,
                f"DELETE FROM {target} WHERE organization_id = %s RETURNING *",
                [foreign.organization_id],
            )
            attacker.attempt(category, f"TRUNCATE {target} CASCADE")
            attacker.attempt(category, f"COPY {target} FROM STDIN", "\\N\n")
            attacker.attempt(category, f"COPY {target} FROM PROGRAM 'echo'")
            attacker.attempt(category, f"COPY {target} FROM '/etc/hostname'")
            attacker.attempt(category, f"COPY (SELECT * FROM {target}) TO '/tmp/out'")
            attacker.attempt(
                category,
                f"WITH gone AS (DELETE FROM {target} WHERE organization_id = %s RETURNING *) SELECT * FROM gone",
                [foreign.organization_id],
            )
            for row in baits(attacker, view, foreign):
                _write_row(attacker, view, target, row, foreign)


def _write_row(attacker: Attacker, view: View, target: str, row: Row, foreign: Organization) -> None:
    category = "write foreign rows"
    attacker.attempt(category, *insertion(target, row, " RETURNING *"))
    attacker.attempt(category, *insertion(target, _fresh(view, row), " RETURNING *"))
    for columns, table, _ in view.references:
        if table == "shifts":  # a trigger may look up the shift, and the error print it
            half_known = foreign.identifier(HALF_KNOWN, hidden=False)
            attacker.attempt(category, *insertion(target, {**row, columns[1]: half_known}, " RETURNING *"))
    for key in view.keys:
        if not set(key) <= row.keys():
            continue
        condition, values = _condition(row, key)
        attacker.attempt(
            category,
            f"UPDATE {target} SET organization_id = organization_id WHERE {condition} RETURNING *",
            values,
        )
        attacker.attempt(category, f"DELETE FROM {target} WHERE {condition} RETURNING *", values)
        matched = " AND ".join(f't."{column}" = %s' for column in key)
        for action in ("UPDATE SET organization_id = t.organization_id", "DELETE"):
            attacker.attempt(
                category,
                f"MERGE INTO {target} AS t USING (SELECT 1) AS s ON {matched} WHEN MATCHED THEN {action}",
                values,
            )


def upsert(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """ON CONFLICT on the keys of another organization's rows: to read them, to change them, to take them over."""
    category = "upserts"
    for statement in SPIES:
        attacker.quietly(statement)
    for view in views:
        for row in baits(attacker, view, foreign):
            for key in view.keys:
                if not set(key) <= row.keys():
                    continue
                conflict = f" ON CONFLICT ({', '.join(key)})"
                for action in (
                    "DO NOTHING",
                    "DO UPDATE SET organization_id = excluded.organization_id RETURNING *",
                    f"DO UPDATE SET organization_id = '{attacker.own.organization_id}' RETURNING *",
                    "DO UPDATE SET organization_id = t.organization_id WHERE pg_temp.spy(t::text)",
                    "DO UPDATE SET organization_id = CASE WHEN pg_temp.spy(t::text) THEN t.organization_id END",
                ):
                    outcome = attacker.attempt(category, *insertion(view.sql, row, f"{conflict} {action}"))
                    if outcome.worked:
                        attacker.report(
                            category, f"worked on another organization's key: {view.name} {key} {action}"
                        )


def refer(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """Own rows that reference another organization's, and moves of own rows into it."""
    for view in views:
        for own_row in attacker.own.known.get(view.name, []):
            fresh = _fresh(view, own_row)
            for columns, table, target_columns in view.references:
                other = foreign.known[table][0]
                pairs = [
                    (column, other[target])
                    for column, target in zip(columns, target_columns, strict=True)
                    if column != "organization_id" and column in fresh and target in other
                ]
                for column, value in pairs:
                    for sql, values in (
                        insertion(view.sql, _named(attacker, view, {**fresh, column: value})),
                        (f'UPDATE {view.sql} SET "{column}" = %s', [value]),
                    ):
                        outcome = attacker.attempt("references", sql, values)
                        if outcome.worked and outcome.row_count > 0:
                            attacker.report(
                                "references",
                                f"{view.name}.{column} points to {table} of another organization",
                            )
        for condition in (
            "true",
            f"organization_id = '{foreign.organization_id}'",
            "organization_id IS NULL",
        ):
            outcome = attacker.attempt(
                "moves",
                f"UPDATE {view.sql} SET organization_id = %s WHERE {condition}",
                [foreign.organization_id],
            )
            if outcome.worked and outcome.row_count > 0:
                attacker.report("moves", f"{view.name}: a row moved")


def existence(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """Does the error for a row reveal whether another organization has a row with that key?"""
    category = "existence by refusals"
    for view in views:
        for key, row, absent in forged_and_absent(attacker, view, foreign):
            for tail in ("", " ON CONFLICT DO NOTHING", f" ON CONFLICT ({', '.join(key)}) DO NOTHING"):
                answers = {
                    attacker.attempt(category, *insertion(view.sql, candidate, tail)).answer()
                    for candidate in (row, absent)
                }
                _compare(attacker, category, f"INSERT INTO {view.name} by {key}{tail}", answers)
            assignments = ", ".join(f'"{column}" = %s' for column in key)
            answers = {
                attacker.attempt(
                    category,
                    f"UPDATE {view.sql} SET {assignments}",
                    [candidate[column] for column in key],
                ).answer()
                for candidate in (row, absent)
            }
            _compare(attacker, category, f"UPDATE {view.name} to {key}", answers)
        for row in baits(attacker, view, foreign):
            for columns, _, _ in view.references:
                column = columns[1] if len(columns) > 1 else ""
                if column not in row:
                    continue
                answers = {
                    attacker.attempt(category, *insertion(view.sql, candidate)).answer()
                    for candidate in (row, {**row, column: str(uuid.uuid4())})
                }
                _compare(attacker, category, f"INSERT INTO {view.name} referring by {column}", answers)


def _compare(attacker: Attacker, category: str, what: str, answers: set[str]) -> None:
    # The identifier given by the attacker may occur in the answer.
    plain = {" ".join(word for word in answer.split() if word.count("-") != 4) for answer in answers}
    if len(plain) > 1:
        attacker.report(category, f"{what}: {sorted(plain)}")


def write_relations(attacker: Attacker, relations: list[Relation], foreign: Organization) -> None:
    """Writes to everything else that has a name: chunks, compressed chunks, materializations, catalogs."""
    for relation in relations:
        if relation.kind not in ("r", "p", "v", "m", "f") or relation.schema == "tenant":
            continue
        category = f"write {relation.family}"
        attacker.attempt(category, f"DELETE FROM {relation.sql}")
        attacker.attempt(category, f"INSERT INTO {relation.sql} DEFAULT VALUES")
        if relation.family != "system catalogs":
            attacker.attempt(category, f"INSERT INTO {relation.sql} SELECT * FROM {relation.sql} LIMIT 1")
            attacker.attempt(category, f"TRUNCATE {relation.sql}")
            attacker.attempt(category, f"DROP {_KINDS[relation.kind]} {relation.sql} CASCADE")
            attacker.attempt(category, f"ALTER TABLE {relation.sql} OWNER TO CURRENT_USER")
            attacker.attempt(category, f"ALTER TABLE {relation.sql} DISABLE TRIGGER ALL")
            attacker.attempt(category, f"GRANT ALL ON {relation.sql} TO CURRENT_USER")
            attacker.attempt(
                category, f"UPDATE {relation.sql} SET organization_id = '{foreign.organization_id}'"
            )
            attacker.attempt(category, f"COPY {relation.sql} FROM STDIN", "\\N\n")
