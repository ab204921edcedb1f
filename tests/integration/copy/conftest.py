"""A database with all kinds of target tables, and a connection that is rolled back after each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from db_utils.values import register
from tests.conftest import fresh_database

ORGANIZATION = "11111111-1111-1111-1111-111111111111"
OTHER_ORGANIZATION = "22222222-2222-2222-2222-222222222222"
RESOURCE = "00000000-0000-0000-0001-000000000001"

_TABLES = """
CREATE TABLE resources (
    organization_id uuid NOT NULL,
    resource_id uuid NOT NULL,
    name text NOT NULL,
    CONSTRAINT resources_pkey PRIMARY KEY (organization_id, resource_id)
);
INSERT INTO resources (organization_id, resource_id, name) VALUES
    ('11111111-1111-1111-1111-111111111111', '00000000-0000-0000-0001-000000000001', 'press'),
    ('22222222-2222-2222-2222-222222222222', '00000000-0000-0000-0001-000000000001', 'saw');

CREATE TABLE events (
    organization_id uuid NOT NULL,
    time timestamptz NOT NULL,
    event_id int NOT NULL,
    resource_id uuid NOT NULL,
    event_type text NOT NULL,
    quantity numeric,
    quality_score numeric(5, 2),
    metadata jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT events_pkey PRIMARY KEY (organization_id, time, event_id),
    CONSTRAINT events_event_type_check CHECK (event_type IN ('production', 'downtime')),
    CONSTRAINT events_quality_score_check CHECK (quality_score BETWEEN 0 AND 100),
    CONSTRAINT events_organization_id_resource_id_fkey FOREIGN KEY (organization_id, resource_id)
        REFERENCES resources (organization_id, resource_id)
);

CREATE VIEW my_events WITH (security_barrier) AS
SELECT * FROM events WHERE organization_id = '11111111-1111-1111-1111-111111111111'
WITH CHECK OPTION;

CREATE TYPE mood AS ENUM ('calm', 'tense');
CREATE DOMAIN percentage AS numeric CHECK (value BETWEEN 0 AND 100);

CREATE TABLE anything (
    n bigint,
    small smallint,
    whole integer,
    real_number real,
    float_number double precision,
    exact numeric,
    truth boolean,
    words text,
    short_words varchar(5),
    moment timestamptz,
    wall_time timestamp,
    day date,
    hour time,
    span interval,
    identifier uuid,
    document jsonb,
    document_text json,
    blob bytea,
    feeling mood,
    share percentage,
    numbers integer[],
    texts text[],
    moments timestamptz[],
    documents jsonb[],
    identifiers uuid[],
    period tstzrange
);

CREATE TABLE stock (
    organization_id uuid NOT NULL,
    product_id text,
    quantity numeric NOT NULL,
    first_seen integer,
    CONSTRAINT stock_organization_id_product_id_key UNIQUE (organization_id, product_id),
    CONSTRAINT stock_quantity_check CHECK (quantity >= 0)
);

CREATE SCHEMA "Odd Schema";
CREATE TABLE "Odd Schema"."Odd ""Table" ("a ""column" int, "from" text, "{b}" text, "100%" text);

CREATE TABLE counted (
    counted_id bigint GENERATED ALWAYS AS IDENTITY,
    words text,
    doubled text GENERATED ALWAYS AS (words || words) STORED
);
"""


def _tables(url: str) -> None:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_TABLES)
            cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")
            if cursor.fetchone()[0]:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
                cursor.execute("SELECT create_hypertable('events', 'time')")
        connection.commit()
    finally:
        connection.close()


@pytest.fixture(scope="session")
def bulk_url(server_url: str) -> Iterator[str]:
    """The URL of a database with these tables."""
    with fresh_database(server_url) as url:
        _tables(url)
        yield url


@pytest.fixture
def connection(bulk_url: str) -> Iterator[Any]:
    """A connection in psycopg2's usual mode; its work is rolled back."""
    connection = psycopg2.connect(bulk_url, options="-c TimeZone=UTC")
    register(connection)
    try:
        yield connection
        connection.rollback()
    finally:
        connection.close()


class Asker:
    """Queries the server on the test's connection."""

    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection

    def rows(self, sql: str, params: object = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall()

    def value(self, sql: str, params: object = None) -> Any:
        return self.rows(sql, params)[0][0]

    def run(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)


@pytest.fixture
def ask(connection: Any) -> Asker:
    """Queries the server on the test's connection."""
    return Asker(connection)
