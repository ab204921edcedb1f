"""A seeded database and helpers to query it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from psycopg2.extensions import make_dsn, parse_dsn

from db_utils import DatabaseManager, schema

PARIS = ZoneInfo("Europe/Paris")
MANUFACTURING = "11111111-1111-1111-1111-111111111111"
LOGISTICS = "22222222-2222-2222-2222-222222222222"

# The database's clock and the secret of an organization's channels; everything else comes from the seed.
NOT_CONTENT = ["created_at", "updated_at", "recorded_at", "notification_key", "seeded_at"]


@dataclass(frozen=True)
class Story:
    """A seeded database and the instant it was seeded for."""

    db: DatabaseManager
    anchor: datetime

    @property
    def today(self) -> date:
        return self.anchor.astimezone(PARIS).date()

    @property
    def last_minute(self) -> datetime:
        return self.anchor.replace(second=0, microsecond=0)

    def days(self, first: int, last: int) -> list[date]:
        """Local days counted from today, both ends included."""
        return [self.today + timedelta(days=n) for n in range(first, last + 1)]

    def rows(self, sql: str, *parameters: Any) -> list[dict[str, Any]]:
        return self.db.execute_query(sql, parameters)

    def column(self, sql: str, *parameters: Any) -> list[Any]:
        return [next(iter(row.values())) for row in self.rows(sql, *parameters)]


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), PARIS)


def local_day(instant: datetime) -> date:
    return instant.astimezone(PARIS).date()


@contextmanager
def seeded_at(url: str, anchor: str, **session: str) -> Iterator[DatabaseManager]:
    """The database at `url`, seeded relative to `anchor`, in a session with these settings."""
    settings = {"app.seed_now": anchor, **session}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    with DatabaseManager(make_dsn(**{**parse_dsn(url), "options": options})) as db:
        schema.seed(db)
        yield db


def contents(db: DatabaseManager) -> dict[str, str]:
    """A fingerprint of the content of each table, except stored machine time, which grows every hour."""
    tables = db.execute_query(
        "SELECT tablename FROM pg_tables "
        "WHERE schemaname = 'public' AND tablename <> 'schema_version' AND tablename !~ '^resource_time_' ORDER BY tablename"
    )
    with db.transaction(read_only=True) as transaction:
        transaction.execute("SET LOCAL TIME ZONE 'UTC'")
        transaction.execute("SET LOCAL intervalstyle = postgres")
        return {
            t["tablename"]: transaction.execute_query(
                "SELECT md5(string_agg(content, '' ORDER BY content)) AS fingerprint FROM ("
                f"SELECT (to_jsonb(t) - %s::text[])::text AS content FROM {t['tablename']} AS t) AS rows",
                (NOT_CONTENT,),
            )[0]["fingerprint"]
            for t in tables
        }


def events_by_resource(story: Story) -> dict[Any, list[dict[str, Any]]]:
    events = defaultdict(list)
    for event in story.rows(
        "SELECT resource_id, time, event_type, product_id, quantity, scrap_quantity, duration_minutes "
        "FROM operational_events WHERE resource_id IS NOT NULL ORDER BY time"
    ):
        event["ends_at"] = event["time"] + timedelta(minutes=int(event["duration_minutes"]))
        events[event["resource_id"]].append(event)
    return events
