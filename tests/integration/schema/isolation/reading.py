"""Attempts to read: every relation by every way of reading, predicates that report what they see, plans."""

from __future__ import annotations

from tests.integration.schema.isolation.attackers import Attacker
from tests.integration.schema.isolation.catalog import SAMPLE, Relation, View
from tests.integration.schema.isolation.population import Organization

# Functions and operators that print their arguments, and claim to cost nothing.
_SPIES = (
    "CREATE FUNCTION pg_temp.spy(seen text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 "
    "AS $$ BEGIN RAISE NOTICE '%', seen; RETURN true; END $$",
    "CREATE FUNCTION pg_temp.echo(seen text) RETURNS text LANGUAGE plpgsql COST 0.0000001 "
    "AS $$ BEGIN RAISE NOTICE '%', seen; RETURN seen; END $$",
    "CREATE FUNCTION pg_temp.compare(a text, b text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 "
    "AS $$ BEGIN RAISE NOTICE '%', a; RETURN a = b; END $$",
    "CREATE OPERATOR pg_temp.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.compare, "
    "COMMUTATOR = OPERATOR(pg_temp.===), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES)",
    "CREATE AGGREGATE pg_temp.collect (text) (SFUNC = pg_temp.gather, STYPE = text, INITCOND = '')",
)
_GATHER = (
    "CREATE FUNCTION pg_temp.gather(so_far text, seen text) RETURNS text LANGUAGE plpgsql COST 0.0000001 "
    "AS $$ BEGIN RAISE NOTICE '%', seen; RETURN so_far; END $$"
)
SPIES = (*_SPIES[:4], _GATHER, _SPIES[4])


def read_relations(attacker: Attacker, relations: list[Relation]) -> None:
    """Every relation of every schema, by every statement that reads."""
    for relation in relations:
        category = f"read {relation.family}"
        name = relation.sql
        attacker.attempt(category, f"SELECT * FROM {name}")
        if relation.kind in ("i", "I", "S"):
            continue
        if relation.family != "system catalogs":
            attacker.attempt(category, f"SELECT t::text FROM ONLY {name} AS t")
            attacker.attempt(category, f"COPY {name} TO STDOUT")
            attacker.attempt(category, f"COPY (SELECT * FROM {name}) TO STDOUT")
            attacker.attempt(category, f"SELECT to_jsonb(t) FROM {name} AS t TABLESAMPLE BERNOULLI (100)")
            attacker.attempt(category, f"SELECT to_jsonb(t) FROM {name} AS t FOR UPDATE")
            attacker.attempt(category, f"SELECT * FROM {name} AS t FOR KEY SHARE SKIP LOCKED")
            attacker.attempt(category, f"SELECT count(*) FROM {name} HAVING count(*) > 1000000")
            attacker.attempt(category, f"WITH t AS MATERIALIZED (TABLE {name}) SELECT json_agg(t) FROM t")
            attacker.attempt(category, f"SELECT xmin, ctid, tableoid::regclass, t.* FROM {name} AS t")
            attacker.attempt(
                category, f"CREATE TEMP VIEW peep AS SELECT * FROM {name}; SELECT * FROM peep; DROP VIEW peep"
            )
            attacker.attempt(category, f"CREATE TEMP TABLE peep (LIKE {name} INCLUDING ALL); DROP TABLE peep")
            attacker.attempt(category, f"CREATE TEMP TABLE peep () INHERITS ({name}); DROP TABLE peep")
            with attacker.transaction():
                attacker.quietly(f"DECLARE peep SCROLL CURSOR FOR SELECT * FROM {name}")
                attacker.attempt(category, "FETCH ALL FROM peep")


def explain(attacker: Attacker, relations: list[Relation]) -> None:
    """What plans reveal, for everything that can be planned."""
    for relation in relations:
        if relation.family == "system catalogs" or relation.kind in ("i", "I", "S"):
            continue
        for options in (
            "VERBOSE",
            "ANALYZE, VERBOSE, BUFFERS, SETTINGS, WAL",
            "ANALYZE, FORMAT JSON",
            "GENERIC_PLAN",
        ):
            attacker.attempt("plans", f"EXPLAIN ({options}) SELECT * FROM {relation.sql} ORDER BY 2 DESC")
        if relation.schema == "tenant":
            attacker.attempt(
                "plans",
                f"EXPLAIN (ANALYZE, VERBOSE) UPDATE {relation.sql} SET organization_id = organization_id",
            )
            attacker.attempt(
                "plans",
                f"EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM {relation.sql} AS t WHERE t::text ~ 'secret'",
            )


def spy(attacker: Attacker, views: list[View], foreign: Organization) -> None:
    """Cheap, printing functions and operators, failing casts and divisions that the planner may evaluate first."""
    for statement in SPIES:
        attacker.quietly(statement)
    category = "leaky predicates"
    for view in views:
        name = f"tenant.{view.name}"
        for column in view.columns:
            for predicate in (
                f'pg_temp.spy(t."{column}"::text)',
                f"t.\"{column}\"::text OPERATOR(pg_temp.===) 'x'",
                f"(t.\"{column}\"::text || 'x')::xid8 IS NULL",
            ):
                attacker.attempt(category, f"SELECT 1 FROM {name} AS t WHERE {predicate}")
        for sql in (
            f"SELECT 1 FROM {name} AS t WHERE pg_temp.spy(t::text) AND t.organization_id = %(foreign)s",
            f"SELECT 1 FROM {name} AS t WHERE t.organization_id = %(foreign)s AND pg_temp.spy(to_jsonb(t)::text)",
            f"SELECT 1 FROM {name} AS t WHERE t.organization_id = %(foreign)s OR pg_temp.spy(t::text)",
            f"SELECT 1 FROM {name} AS t JOIN {name} AS u ON pg_temp.compare(t::text, u::text)",
            f"SELECT 1 FROM {name} AS t FULL JOIN {name} AS u ON t::text OPERATOR(pg_temp.===) u::text",
            f"SELECT 1 FROM {name} AS t CROSS JOIN LATERAL (SELECT pg_temp.echo(t::text) AS seen OFFSET 0) AS u",
            f"SELECT 1 FROM {name} AS t WHERE EXISTS (SELECT FROM generate_series(1, 1) WHERE pg_temp.spy(t::text))",
            f"SELECT 1 FROM {name} AS t WHERE CASE WHEN pg_temp.spy(t::text) THEN true END",
            f"SELECT pg_temp.collect(t::text) FILTER (WHERE pg_temp.spy(t::text)) FROM {name} AS t",
            f"SELECT count(*) FROM {name} AS t GROUP BY pg_temp.echo(t::text) HAVING pg_temp.spy(min(t::text))",
            f"SELECT row_number() OVER (ORDER BY pg_temp.echo(t::text)) FROM {name} AS t",
            f"SELECT DISTINCT ON (pg_temp.echo(t::text)) 1 FROM {name} AS t ORDER BY pg_temp.echo(t::text) LIMIT 1",
            f"SELECT 1 FROM {name} AS t WHERE pg_temp.spy(t::text) FOR UPDATE",
            f"SELECT 1 FROM {name} AS t UNION SELECT 1 FROM {name} AS u WHERE pg_temp.spy(u::text)",
            f"UPDATE {name} AS t SET organization_id = organization_id WHERE pg_temp.spy(t::text)",
            f"DELETE FROM {name} AS t WHERE pg_temp.spy(t::text) AND false",
            f"DELETE FROM {name} AS t WHERE t.organization_id = %(foreign)s AND pg_temp.spy(t::text)",
        ):
            attacker.attempt(category, sql, {"foreign": foreign.organization_id})
        # A division that fails only for the other organization's rows reveals that they exist.
        for oracle in (
            f"SELECT 1 FROM {name} WHERE 1 / (organization_id <> %(foreign)s)::integer = 1",
            f"SELECT 1 FROM {name} WHERE 1 / nullif((organization_id <> %(foreign)s)::integer, 1) IS NULL",
            f"UPDATE {name} SET organization_id = organization_id WHERE 1 / (organization_id <> %(foreign)s)::integer = 1",
        ):
            outcome = attacker.attempt(category, oracle, {"foreign": foreign.organization_id})
            if outcome.sqlstate == "22012":
                attacker.report(category, f"a division saw a foreign row: {oracle}")


def spy_under_settings(attacker: Attacker, settings: list[tuple[str, str, str, list[str] | None]]) -> None:
    """The simplest read and the simplest spy function under every setting that a session may change."""
    for statement in SPIES:
        attacker.quietly(statement)
    category = "settings"
    for name, kind, value, allowed in settings:
        if kind == "bool":
            values = ["off" if value == "on" else "on"]
        elif kind == "enum":
            values = [one for one in allowed or [] if one != value]
        elif kind in ("integer", "real"):
            values = ["0", "1", "1000000"]
        else:
            continue
        for other in values:
            with attacker.transaction():
                attacker.attempt(category, f"SET LOCAL {name} = '{other}'")
                for relation in SAMPLE:
                    attacker.attempt(
                        category, f"SELECT * FROM tenant.{relation} AS t WHERE pg_temp.spy(t::text)"
                    )
