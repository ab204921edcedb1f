"""Attempts on rows in the columnstore: TimescaleDB decompresses and compares before the executor checks any condition."""

from __future__ import annotations

from typing import Any

from tests.integration.schema.isolation import population
from tests.integration.schema.isolation.attackers import Attacker
from tests.integration.schema.isolation.catalog import View
from tests.integration.schema.isolation.population import Organization, Row
from tests.integration.schema.isolation.writing import baits, insertion, other_value

CATEGORY = "oracles of the columnstore"

# Settings of a session that make decompression fail, or make it read more rows than necessary.
SETTINGS = (
    {},
    {"timescaledb.max_tuples_decompressed_per_dml_transaction": "1"},
    {"timescaledb.max_tuples_decompressed_per_dml_transaction": "0"},
    {
        "timescaledb.max_tuples_decompressed_per_dml_transaction": "1",
        "timescaledb.enable_dml_decompression_tuple_filtering": "off",
    },
    {"timescaledb.enable_dml_decompression": "off"},
    {
        "timescaledb.enable_optimizations": "off",
        "timescaledb.max_tuples_decompressed_per_dml_transaction": "1",
    },
    {"timescaledb.enable_direct_compress_insert": "on"},
    {"enable_indexscan": "off", "timescaledb.max_tuples_decompressed_per_dml_transaction": "1"},
    {"enable_seqscan": "off", "timescaledb.max_tuples_decompressed_per_dml_transaction": "1"},
    {"plan_cache_mode": "force_generic_plan", "timescaledb.max_tuples_decompressed_per_dml_transaction": "1"},
)


def batches(owner: Any) -> dict[tuple[str, str], tuple[int, int]]:
    """The number of batches and rows of each organization in each compressed chunk of a table or rollup."""
    found = {}
    with owner.cursor() as cursor:
        cursor.execute("SELECT database_edition()")
        if cursor.fetchone()[0] != "community":
            return {}
        cursor.execute(
            "SELECT compress_relid::regclass::text FROM _timescaledb_catalog.compression_settings "
            "WHERE compress_relid IS NOT NULL ORDER BY 1"
        )
        for (chunk,) in cursor.fetchall():
            cursor.execute(
                f"SELECT organization_id::text, count(*), sum(_ts_meta_count) FROM {chunk} GROUP BY 1"
            )
            found.update(
                {(chunk, organization): (count, rows) for organization, count, rows in cursor.fetchall()}
            )
    return found


def ask(attacker: Attacker, owner: Any, views: list[View], foreign: Organization) -> None:
    """Does the outcome of UPDATE, DELETE or INSERT reveal another organization's rows, or decompress or lock them?"""
    before = _others(attacker, batches(owner))
    series = {view.name for view in views if view.schema == "tenant_load"}
    for view in views:
        if not before or view.name not in series:
            continue
        # Settings belong to the session: all kinds of attackers learn the same from them.
        for settings in SETTINGS if attacker.name == "login" else SETTINGS[:2]:
            attacker.leave()
            for name, value in settings.items():
                attacker.quietly(f"SET {name} = '{value}'")
            _change(attacker, view, foreign.known[view.name][0], foreign)
            if view.schema == "tenant" or not attacker.chooses_organization:
                _insert(attacker, view, baits(attacker, view, foreign)[0])
            if _others(attacker, batches(owner)) != before:
                attacker.report(CATEGORY, f"{view.sql}: batches of others were unpacked under {settings}")
                population.compress(owner)
            _hold(attacker, view, owner)
    attacker.leave()


def _others(attacker: Attacker, found: dict[tuple[str, str], tuple[int, int]]) -> dict[Any, Any]:
    return {key: counts for key, counts in found.items() if key[1] != attacker.own.organization_id}


def _change(attacker: Attacker, view: View, row: Row, foreign: Organization) -> None:
    """Each condition that matches a row of the other organization, next to one that matches none."""
    for column in view.columns:
        value = row.get(column)
        if column in ("organization_id", "metadata") or value is None:
            continue
        absent = -1 if isinstance(value, (int, float)) or hasattr(value, "as_tuple") else other_value(value)
        for statement in (
            f"DELETE FROM {view.sql}",
            f'UPDATE {view.sql} SET "{column}" = "{column}"',
            f"UPDATE {view.sql} SET metadata = metadata",
        ):
            for comparison in ("=", ">="):
                condition = f'WHERE organization_id = %s AND "{column}" {comparison} %s'
                answers = {
                    attacker.attempt(
                        CATEGORY, f"{statement} {condition}", [foreign.organization_id, candidate]
                    ).answer()
                    for candidate in (value, absent)
                }
                _judge(attacker, f"{statement} by {column} {comparison}", answers)


def _insert(attacker: Attacker, view: View, row: Row) -> None:
    key = ", ".join(view.keys[0])
    absent = {**row, "time": other_value(row["time"])}
    for tail in (
        "",
        " ON CONFLICT DO NOTHING",
        f" ON CONFLICT ({key}) DO NOTHING",
        f" ON CONFLICT ({key}) DO UPDATE SET metadata = excluded.metadata",
    ):
        answers = {
            attacker.attempt(CATEGORY, *insertion(view.sql, candidate, tail)).answer()
            for candidate in (row, absent)
        }
        _judge(attacker, f"INSERT INTO {view.sql}{tail}", answers)


def _hold(attacker: Attacker, view: View, owner: Any) -> None:
    """What an open transaction that changed every own row blocks for others."""
    with attacker.transaction():
        attacker.attempt(CATEGORY, f"UPDATE {view.sql} SET metadata = metadata")
        attacker.attempt(CATEGORY, f"DELETE FROM {view.sql}")
        for chunk in {chunk for chunk, _ in batches(owner)}:
            with owner.cursor() as cursor:
                condition = "WHERE organization_id <> %s"
                cursor.execute(f"SELECT count(*) FROM {chunk} {condition}", [attacker.own.organization_id])
                (there,) = cursor.fetchone()
                cursor.execute(
                    f"SELECT count(*) FROM (SELECT FROM {chunk} {condition} FOR UPDATE SKIP LOCKED) AS free",
                    [attacker.own.organization_id],
                )
                (free,) = cursor.fetchone()
            if free != there:
                attacker.report(CATEGORY, f"{view.sql}: {there - free} batches of others are locked")


def _judge(attacker: Attacker, what: str, answers: set[str]) -> None:
    # The name of a chunk, or a value given by the attacker, may occur in the answer; whether it exists may not.
    kinds = {" ".join(answer.split()[:1]) if not answer.startswith("done") else answer for answer in answers}
    if len(kinds) > 1:
        attacker.report(CATEGORY, f"{what}: {sorted(answers)}")
