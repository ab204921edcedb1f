"""Late rows are in every answer at once, whoever wrote them, and two answers about one period agree."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pandas as pd
import pytest

from db_utils import DatabaseManager, OperationalDataQueries, schema

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


class Shop:
    """An organization with one product at one location, sold once an hour; sales are counted in Python."""

    def __init__(self, db: DatabaseManager) -> None:
        self.db = db
        self.queries = OperationalDataQueries(db)
        self.organization = self.queries.create_organization("Shop", industry="retail", timezone="UTC")[
            "organization_id"
        ]
        self.place = self.queries.create_location(
            self.organization, "Shop", location_type="store", timezone="UTC"
        )["location_id"]
        self.start = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 60 * DAY
        self.sold: dict[dt.datetime, int] = {}

    def sell(self, times: list[dt.datetime], quantity: int, through: Any = None) -> None:
        (through or self.queries).record_demand(
            self.organization,
            [{"time": t, "product_id": "P", "location_id": self.place, "quantity": quantity} for t in times],
            replace=True,
        )
        self.sold |= dict.fromkeys(times, quantity)

    def right(self, start: dt.datetime, end: dt.datetime) -> tuple[int, int]:
        inside = [quantity for time, quantity in self.sold.items() if start <= time < end]
        return len(inside), sum(inside)

    def check(self, through: Any = None) -> None:
        """Whole days, part of an hour, and two prebuilt queries for the same days."""
        queries = through or self.queries
        for start, end in (
            (self.start, self.start + 20 * DAY),
            (self.start + HOUR / 3, self.start + 5 * DAY + HOUR / 2),
            (self.start + 2 * DAY, self.start + 3 * DAY),
        ):
            found = queries.get_products(self.organization, start=start, end=end)
            assert [(row["row_count"], row["quantity"]) for row in found] == [self.right(start, end)]
        series = queries.get_demand_series(
            self.organization, "P", bucket="day", start=self.start, end=self.start + 20 * DAY
        )
        assert sum(row["quantity"] or 0 for row in series) == self.right(self.start, self.start + 20 * DAY)[1]


def test_late_rows_changed_rows_and_rows_taken_back(db: DatabaseManager) -> None:
    shop = Shop(db)
    shop.sell([shop.start + i * HOUR for i in range(0, 480, 2)], 1)
    schema.refresh_rollups(db)
    shop.check()
    shop.sell([shop.start + i * HOUR + HOUR / 4 for i in range(0, 480, 3)], 7)
    shop.check()
    shop.sell([shop.start + i * HOUR for i in range(0, 40, 2)], 100)
    shop.check()
    db.execute(
        "DELETE FROM demand_history WHERE organization_id = %s AND time >= %s AND time < %s",
        (shop.organization, shop.start + 50 * HOUR, shop.start + 60 * HOUR),
    )
    shop.sold = {
        time: quantity
        for time, quantity in shop.sold.items()
        if not shop.start + 50 * HOUR <= time < shop.start + 60 * HOUR
    }
    shop.check()
    schema.refresh_rollups(db, start=shop.start, end=shop.start + 3 * DAY)
    shop.check()
    schema.refresh_rollups(db)
    shop.check()


def test_what_a_transaction_wrote_itself_is_in_its_answers(db: DatabaseManager) -> None:
    shop = Shop(db)
    shop.sell([shop.start + i * HOUR for i in range(480)], 1)
    schema.refresh_rollups(db)
    with db.transaction() as transaction:
        through = OperationalDataQueries(transaction)
        shop.sell([shop.start + 30 * HOUR], 1000, through)
        shop.check(through)
    shop.check()
    with db.tenant(shop.organization) as scope:
        shop.check(OperationalDataQueries(scope))


def test_another_organizations_late_rows_change_nothing(db: DatabaseManager) -> None:
    shop, other = Shop(db), Shop(db)
    shop.sell([shop.start + i * HOUR for i in range(480)], 3)
    schema.refresh_rollups(db)
    other.sell([other.start + i * HOUR for i in range(480)], 5)
    shop.check()
    other.check()


def test_late_rows_count_through_every_door(db: DatabaseManager) -> None:
    """If a statement trigger has a transition table, TimescaleDB inserts copied rows one by one, and does not log their range."""
    shop = Shop(db)
    queries, organization = shop.queries, shop.organization
    machine = queries.create_resource(organization, "M", location_id=shop.place, resource_type="machine")[
        "resource_id"
    ]
    samples = ["organization_id", "time", "resource_id", "sample_minutes", "utilization_pct"]
    events = ["organization_id", "time", "resource_id", "location_id", "event_type", "duration_minutes"]

    def sample(time: dt.datetime) -> tuple[Any, ...]:
        return organization, time, machine, 15, 100

    def event(time: dt.datetime) -> tuple[Any, ...]:
        return organization, time, machine, shop.place, "idle", 15

    def copy_by_hand(relation: str, columns: list[str], row: tuple[Any, ...]) -> None:
        text = io.StringIO("\t".join(map(str, row)) + "\n")
        with (
            db.transaction() as transaction,
            transaction.connection() as connection,
            connection.cursor() as cursor,
        ):
            cursor.copy_expert(f"/* by hand */ copy {relation} ({', '.join(columns)}) FROM STDIN", text)

    doors: dict[str, Callable[[str, list[str], tuple[Any, ...]], object]] = {
        "execute": lambda relation, columns, row: db.execute(
            f"INSERT INTO {relation} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(row))})", row
        ),
        "execute_many": lambda relation, columns, row: db.execute_many(
            f"INSERT INTO {relation} ({', '.join(columns)}) VALUES %s", [row]
        ),
        "copy_rows": lambda relation, columns, row: db.copy_rows(relation, columns, [row]),
        "copy_rows in a scope": lambda relation, columns, row: db.tenant(organization).copy_rows(
            relation, columns, [row]
        ),
        "write_frame": lambda relation, columns, row: db.write_frame(
            relation, pd.DataFrame([[str(v) if isinstance(v, UUID) else v for v in row]], columns=columns)
        ),
        "COPY": copy_by_hand,
    }
    hours = [shop.start + n * HOUR for n in range(48)]
    db.copy_rows("resource_metrics", samples, [(*sample(hour)[:3], 30, 50) for hour in hours])
    db.copy_rows("operational_events", events, [event(hour) for hour in hours])
    schema.refresh_rollups(db)
    for number, (door, write) in enumerate(doors.items()):
        write("resource_metrics", samples, sample(hours[3 * number] + HOUR / 2))
        write("operational_events", events, event(hours[3 * number] + HOUR / 2))
        period = {"start": hours[0], "end": hours[-1] + HOUR}
        (told,) = queries.get_resource_utilization_summary(organization, **period)
        assert told["sample_minutes"] == 48 * 30 + 15 * (number + 1), door
    schema.refresh_rollups(db)
    for relation, counted in (("resource_metrics", "sample_count"), ("operational_events", "event_count")):
        for rollup in (f"{relation}_hourly", f"{relation}_daily"):
            rows = db.execute_query(
                f"SELECT sum({counted}) AS n FROM {rollup} WHERE organization_id = %s", (organization,)
            )
            assert rows == [{"n": 48 + len(doors)}], rollup


def test_what_retention_took_away_is_in_the_rollups_and_in_no_answer_over_rows(db: DatabaseManager) -> None:
    if schema.edition(db) != "community":
        pytest.skip("retention is of the community edition")
    shop = Shop(db)
    long_ago = shop.start - 400 * DAY
    shop.sell([long_ago + i * HOUR for i in range(48)], 2)
    shop.sell([shop.start + i * HOUR for i in range(480)], 1)
    schema.refresh_rollups(db)
    db.execute("CALL set_retention('demand_history', '200 days')")
    db.execute_query("SELECT drop_chunks('demand_history', older_than => interval '200 days')")
    gone = {"start": long_ago, "end": long_ago + 2 * DAY}
    assert shop.queries.get_products(shop.organization, **gone) == []
    assert shop.queries.get_demand_series(shop.organization, "P", bucket="day", **gone) == []
    kept = "SELECT sum(row_count) AS n, sum(quantity) AS sold FROM demand_history_daily WHERE bucket < now() - interval '200 days'"
    assert db.execute_query(kept) == [{"n": 48, "sold": 96}]
    shop.sell([shop.start + 30 * HOUR + HOUR / 2], 9)
    shop.check()
    spans = db.execute_query(
        "SELECT lower(raw_spans(ARRAY['demand_history_hourly'], '-infinity', 'infinity')) AS first"
    )[0]["first"]
    assert spans > dt.datetime.now(dt.UTC) - 200 * DAY
