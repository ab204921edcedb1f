"""Attempts by call: every function, aggregate and procedure of every schema, with arguments that target other rows."""

from __future__ import annotations

from tests.integration.schema.isolation.attackers import Attacker
from tests.integration.schema.isolation.catalog import Relation, Routine
from tests.integration.schema.isolation.population import Organization

# Calls that only end or block the attacker's own session.
_LEFT_OUT = ("pg_sleep", "pg_sleep_for", "pg_sleep_until")
# Choosing the organization is not an attack if the login may do so.
_CHOOSES = ("set_config",)


class Arguments:
    """Values of every type that name or refer to another organization's data."""

    def __init__(self, relations: list[Relation], foreign: Organization, names: list[str]) -> None:
        self._foreign = foreign
        targets = _targets(relations)
        self._relations = [relation.sql for relation in targets]
        self._oids = [str(relation.oid) for relation in targets]
        self._names = names

    def of(self, type_name: str) -> list[str]:
        """SQL expressions of this type, the most promising first."""
        organization_id = self._foreign.organization_id
        identifiers = [organization_id, *(self._foreign.identifier(n, hidden=False) for n in (1, 2, 3))]
        first = self._relations[0]
        queries = [f"SELECT * FROM {relation}" for relation in self._relations]
        texts = [
            *self._relations,
            *queries,
            organization_id,
            *self._names,
            "{}",
            "1",
            "/etc/passwd",
            "UTC",
            "SELECT",
            "secret",
        ]
        known: dict[str, list[str]] = {
            "text": [_quoted(text) for text in texts],
            "cstring": [f"{_quoted(text)}::cstring" for text in texts[:6]],
            "name": [f"{_quoted(name)}::name" for name in ("operational_events", "locations", *self._names)],
            "regclass": [f"{_quoted(relation)}::regclass" for relation in self._relations],
            "oid": [f"{oid}::oid" for oid in self._oids],
            "uuid": [f"{_quoted(one)}::uuid" for one in identifiers],
            "boolean": ["true", "false"],
            '"char"': ["'r'::\"char\""],
            "json": ["'{}'::json", f'\'{{"organization_id": "{organization_id}"}}\'::json'],
            "jsonb": [
                "'{}'::jsonb",
                *(
                    f'\'{{"hypertable_id": {n}, "mat_hypertable_id": {n}, "drop_after": "1 day", '
                    f'"compress_after": "1 day", "start_offset": null, "end_offset": null}}\'::jsonb'
                    for n in range(1, 7)
                ),
            ],
            "xml": ["'<a>secret</a>'::xml"],
            "bytea": ["'\\x00'::bytea"],
            "refcursor": ["'peep'::refcursor"],
            "tid": ["'(0,1)'::tid", "'(0,2)'::tid"],
            "regprocedure": ["'current_organization_id()'::regprocedure"],
            "regproc": ["'now'::regproc"],
            "regtype": ["'uuid'::regtype"],
            "regrole": ["'barnameh_tenant'::regrole"],
            "regnamespace": ["'public'::regnamespace"],
            "interval": ["interval '1 day'", "interval '1000 days'"],
            "date": ["CURRENT_DATE - 500"],
            "timestamp with time zone": ["now() - interval '500 days'", "now() + interval '500 days'"],
            "timestamp without time zone": ["localtimestamp - interval '500 days'"],
            "integer": ["1", "2", "0", "7"],
            "bigint": ["1::bigint", "2::bigint", "0::bigint"],
            "smallint": ["1::smallint", "2::smallint"],
            "numeric": ["1::numeric"],
            "double precision": ["1::double precision"],
            "real": ["1::real"],
            "record": [f"(SELECT t FROM {first} AS t LIMIT 1)", "ROW(1)"],
            "anyelement": [f"(SELECT t FROM {first} AS t LIMIT 1)", "'x'::text", "1"],
            "anycompatible": ["'x'::text", "1"],
            '"any"': ["'x'::text", "1"],
            "anynonarray": ["'x'::text"],
            "anyarray": ["ARRAY['x']"],
            "anycompatiblearray": ["ARRAY['x']"],
            "anyenum": ["NULL"],
            "anyrange": ["int4range(1, 2)"],
            "anymultirange": ["int4multirange(int4range(1, 2))"],
        }
        if type_name in known:
            return known[type_name]
        if type_name.endswith("[]"):
            inner = self.of(type_name[:-2])
            return [f"ARRAY[{value}]" for value in inner[:4]]
        return [f"'1'::{type_name}", f"'{{}}'::{type_name}", f"NULL::{type_name}"]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _targets(relations: list[Relation]) -> list[Relation]:
    """One relation of each kind, for functions that accept any."""
    tables = [r for r in relations if r.schema == "public" and r.kind == "r"]
    wanted = [
        r for r in tables if r.name in ("locations", "employees", "operational_events", "tenant_logins")
    ]
    seen: set[str] = set()
    for relation in relations:
        if "timescaledb" in relation.schema:
            sort = relation.kind + "".join(c for c in relation.name if not c.isdigit())
            if (
                relation.name.startswith(("_hyper", "_materialized", "compress", "_partial", "_direct"))
                and sort not in seen
            ):
                seen.add(sort)
                wanted.append(relation)
        elif relation.name in ("operational_events_hourly", "employee_attendance_rate", "locations_pkey"):
            wanted.append(relation)
    wanted += [r for r in relations if r.schema == "pg_catalog" and r.name in ("pg_authid", "pg_statistic")]
    return wanted


def call(attacker: Attacker, routines: list[Routine], arguments: Arguments, *, most: int) -> None:
    """Call every routine with up to `most` combinations of arguments, built-in ones with half as many."""
    for routine in routines:
        if routine.name in _LEFT_OUT or (attacker.chooses_organization and routine.name in _CHOOSES):
            continue
        category = _category(routine)
        limit = (most + 1) // 2 if category == "system functions" else most
        for values in _combinations(routine, arguments, limit):
            inside = f"{routine.sql}({', '.join(values)})"
            if routine.kind == "p":
                attacker.attempt(category, f"CALL {inside}")
            elif routine.kind == "w":
                attacker.attempt(category, f"SELECT {inside} OVER () FROM tenant.locations")
            elif routine.kind == "a":
                attacker.attempt(category, f"SELECT {inside} FROM tenant.locations")
            else:
                attacker.attempt(category, f"SELECT {inside}")
        if "advisory" in routine.name:
            attacker.leave()
    attacker.quietly("SELECT pg_advisory_unlock_all()")


def _category(routine: Routine) -> str:
    if routine.schema in ("public", "tenant"):
        return "functions of the schema and TimescaleDB's API"
    return "TimescaleDB's own functions" if "timescaledb" in routine.schema else "system functions"


def _combinations(routine: Routine, arguments: Arguments, most: int) -> list[list[str]]:
    """The n-th combination takes the n-th value of each argument, so that each value is tried once."""
    choices = [arguments.of(type_name) for type_name in routine.argument_types]
    count = min(most, max((len(values) for values in choices), default=1))
    return [[values[n % len(values)] for values in choices] for n in range(count)]


def read_through_functions(attacker: Attacker, relations: list[Relation], foreign: Organization) -> None:
    """The functions that run a query or open a relation by name, on every relation of every schema."""
    category = "functions that read by name"
    for relation in relations:
        if relation.kind in ("i", "I") or relation.family == "system catalogs":
            continue
        name, query = _quoted(relation.sql), _quoted(f"SELECT * FROM {relation.sql}")
        for sql in (
            f"SELECT query_to_xml({query}, true, true, '')",
            f"SELECT query_to_xml_and_xmlschema({query}, true, true, '')",
            f"SELECT table_to_xml({name}, true, true, '')",
            f"SELECT * FROM ts_stat({query.replace('*', 't::text::tsvector').replace(relation.sql, relation.sql + ' AS t')})",
            f"SELECT ts_rewrite('a'::tsquery, {query})",
            f"SELECT currtid2({name}, '(0,1)'::tid)",
            f"SELECT * FROM json_populate_recordset(NULL::{relation.sql}, (SELECT json_agg(t) FROM {relation.sql} AS t))",
            f"SELECT crosstab({query})",
            f"SELECT * FROM dblink('', {query}) AS t(x text)",
            f"SELECT pg_get_viewdef({name}::regclass), pg_relation_filepath({name}::regclass)",
            f"DO $$ DECLARE t record; BEGIN FOR t IN EXECUTE {query} LOOP RAISE NOTICE '%', t; END LOOP; END $$",
            f"CREATE FUNCTION pg_temp.peep() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER "
            f"AS $f$ SELECT t::text FROM {relation.sql} AS t $f$; SELECT pg_temp.peep()",
        ):
            attacker.attempt(category, sql)
    for schema in ("public", "tenant", "_timescaledb_internal", "pg_catalog"):
        attacker.attempt(category, f"SELECT schema_to_xml('{schema}', true, true, '')")
    attacker.attempt(category, "SELECT database_to_xml(true, true, '')")
    for number in range(13):
        attacker.attempt(
            category, "SELECT notification_channel('alerts', %s)", [foreign.identifier(number, hidden=False)]
        )
