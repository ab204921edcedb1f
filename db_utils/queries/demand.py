"""Recorded demand: rows, regular series, and training frames for models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Literal

from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    Id,
    Number,
    choice_of,
    flag_of,
    optional_number,
    optional_text,
    optional_uuid,
    past,
    past_until_now,
    span_of,
    text_of,
    texts_of,
    time_of,
    whole_of,
)
from db_utils.queries.duplicates import OnRepeat, added_up
from db_utils.queries.records import DemandRecord
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

Bucket = Literal["quarter_hour", "half_hour", "hour", "day", "week", "month"]

# Length of each; of a month the shortest.
_BUCKETS: dict[str, dt.timedelta] = {
    "quarter_hour": dt.timedelta(minutes=15),
    "half_hour": dt.timedelta(minutes=30),
    "hour": dt.timedelta(hours=1),
    "day": dt.timedelta(days=1),
    "week": dt.timedelta(weeks=1),
    "month": dt.timedelta(days=28),
}
_KEY = ("product_id", "location_id", "time")


class DemandQueries(QueryRunner):
    """Demand."""

    def record_demand(
        self,
        organization_id: Id,
        demand: Iterable[DemandRecord],
        *,
        replace: bool = True,
        on_repeat: OnRepeat = "refuse",
    ) -> int:
        """Record demand and return how many rows are new or changed.

        Returns how many rows were written; all or none. A row of the same product, location and time is
        corrected where it differs (the former value stays in `get_demand_revisions`), or kept with
        `replace=False`; the same rows may be sent again. Only given keys are written: a key that a row lacks
        leaves the recorded value unchanged, None makes it unknown. Two rows of one product, location and time
        in one call are refused, or with `on_repeat="sum"` (lines of receipts) their quantity and revenue are
        added up; the revenue is unknown if any of them is. Keys: see `DemandRecord`. Raises
        `InvalidInputError` for a repeated row, `NotFoundError` for an unknown location.
        """
        organization = parse_uuid(organization_id, "organization_id")
        flag_of(replace, "replace")
        rows = self._rows(organization, DemandRecord, demand, "demand", with_none=True)
        if choice_of(on_repeat, "on_repeat", ("refuse", "sum")) == "sum":
            rows = added_up(rows, _KEY, ("quantity", "revenue"), "demand")
        return self._write_pages(
            "record_demand",
            {"organization_id": organization, "replace": replace},
            rows,
            "demand",
            key=_KEY,
            hint=", or let on_repeat='sum' add up quantity and revenue",
            only_given=True,
        )

    def get_demand_history(
        self,
        organization_id: Id,
        product_id: str,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What was the demand for a product, row by row?

        Rows whose time is in the last `days` times 24 hours (default 90), or `start` <= time < `end` (aware;
        no `end`: up to the newest), oldest first, then by location: `time` (UTC; start of the bucket),
        `product_id`, `location_id`, `quantity` (in the product's own unit), `revenue` (in the organization's
        currency, None where not known), `metadata` (dict), `recorded_at` (UTC; when the quantity was
        recorded, None where not known). Empty: no demand, or no such product.
        """
        return self._read(
            "get_demand_history",
            parse_uuid(organization_id, "organization_id"),
            {
                "product_id": text_of(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=90),
            },
        )

    def get_demand_revisions(
        self,
        organization_id: Id,
        *,
        product_id: str | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What were the values of demand rows before they were corrected or deleted?

        Rows whose time is in the last `days` times 24 hours (default 90), or `start` <= time < `end` (aware;
        no `end`: up to the newest), oldest first, then by product, location and version: `time` (UTC; start
        of the bucket), `product_id`, `location_id`, `quantity` (in the product's own unit), `recorded_at`
        (UTC; when it was recorded, None where not known), `replaced_at` (UTC; when it was replaced). Empty:
        nothing was corrected.
        """
        return self._read(
            "get_demand_revisions",
            parse_uuid(organization_id, "organization_id"),
            {
                "product_id": optional_text(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=90),
            },
        )

    def upsert_product(
        self, organization_id: Id, product_id: str, *, name: str | None = None, unit: str | None = None
    ) -> Row:
        """Set the name and unit of a product and return its row.

        `unit` is the product's own unit, in which its demand, plans and forecasts count (pieces, kg …):
        figures over products with different known units are None with a reason instead of a sum. Arguments
        that are None leave the value unchanged. Returns the row: `product_id`, `name`, `unit`, `created_at`,
        `updated_at`. If a product's unit changes from some day on, use a new product. Raises `NotFoundError`
        for an unknown organization.
        """
        return self._create(
            "upsert_product",
            {
                "organization_id": parse_uuid(organization_id, "organization_id"),
                "product_id": text_of(product_id, "product_id"),
                "name": optional_text(name, "name"),
                "unit": optional_text(unit, "unit"),
            },
        )

    def get_products(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """Which products had demand, how much, and at how many locations?

        Rows whose time is in the last `days` times 24 hours (default 365), or `start` <= time < `end`
        (aware): from the start of a local day to the start of the next it is that day. Rows dated in the
        future do not count yet. Rows by product: `product_id`, `name` and `unit` (see `upsert_product`; None
        where not known), `location_count`, `first_bucket` and `last_bucket` (UTC; start of its first and last
        row), `row_count`, `quantity` (in the product's own unit), `revenue` (None unless known for every
        row). Empty: nothing was demanded.
        """
        return self._read(
            "get_products",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                **past(days, start, end, default_days=365),
            },
        )

    def get_demand_series(
        self,
        organization_id: Id,
        product_id: str,
        *,
        location_id: Id | None = None,
        bucket: Bucket = "day",
        fill_quantity: Number | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What was the demand for a product in each local time bucket, gaps included?

        `bucket` is quarter_hour, half_hour, hour, day, week (from Monday) or month, by the location's local
        time: each bucket ends where the next one begins, without gaps at clock changes. The day of a change
        has 23 or 25 hours, a repeated hour is two buckets, and a day without midnight begins at its first
        instant. All buckets entirely within the last `days` times 24 hours (default 90), or `start` to `end`
        (aware; no `end`: now); a period of more than a million buckets, or 100,000 of days and longer, is
        refused. Rows by location, then oldest first: `bucket` and `bucket_end` (UTC), `location_id`,
        `product_id`, `quantity` (sum of the bucket's rows up to now, in the product's own unit;
        `fill_quantity` if there is none and the bucket is over), `revenue` (None unless known for every row),
        `row_count`, `is_observed` (False for a gap). Empty: the product was not demanded in the period.
        """
        length = _BUCKETS[choice_of(bucket, "bucket", tuple(_BUCKETS))]
        return self._read(
            "get_demand_series",
            parse_uuid(organization_id, "organization_id"),
            {
                "product_id": text_of(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "bucket": bucket,
                "fill_quantity": optional_number(fill_quantity, "fill_quantity"),
                **past_until_now(days, start, end, default_days=90, filled_by=length),
            },
        )

    def get_demand_training_frame(
        self,
        organization_id: Id,
        product_id: str | None = None,
        *,
        lead: dt.timedelta = dt.timedelta(0),
        location_id: Id | None = None,
        bucket: Bucket = "day",
        factor_names: Iterable[str] | None = None,
        carry: dt.timedelta = dt.timedelta(0),
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What was the demand in each local bucket, and which external factors were known a given time before it began?

        For one product, or without `product_id` for all at the locations with demand for them. Buckets and
        period as in `get_demand_series`. Of each reading of an external factor, the newest version counts
        that was available `lead` before the bucket began (available_at <= bucket - lead), so that a model is
        trained on what it will see in production, never on tomorrow's weather. A factor's value is the mean
        of its readings in the bucket; without any, its last reading no older than `carry` (one day lets a
        holiday cover the hours of its day); a `carry` shorter than `lead` is refused, because no measured
        reading could be known then. A location's own readings take precedence over those of the whole
        organization. Rows by location and product, then oldest first: `bucket`, `bucket_end` (UTC),
        `location_id`, `product_id`, `quantity` and `revenue` (None where nothing was recorded),
        `is_observed`, `factors` (dict of name to float, None where not known; the same names in every row:
        `factor_names`, or all that occur), `left_out` (dict of name to the reason why a factor is always
        None: its readings have two units). As a frame each factor is a separate column `factor_…`, in place
        of `factors`. Empty: the product was not demanded in the period.
        """
        ahead, back = span_of(lead, "lead"), span_of(carry, "carry")
        if dt.timedelta(0) < back < ahead:
            raise InvalidInputError(
                f"carry is {back} and lead {ahead}: any reading known that early is older than carry; give a carry of at "
                "least lead, or none"
            )
        length = _BUCKETS[choice_of(bucket, "bucket", tuple(_BUCKETS))]
        names = None if factor_names is None else texts_of(factor_names, "factor_names")
        rows = self._read(
            "get_demand_training_frame",
            parse_uuid(organization_id, "organization_id"),
            {
                "product_id": optional_text(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "bucket": bucket,
                "lead": ahead,
                "carry": back,
                "factor_names": names,
                **past_until_now(days, start, end, default_days=90, filled_by=length),
            },
        )
        if self.answers_frames:
            from db_utils.dataframes.to_frame import with_columns_of

            frame: list[Row] = with_columns_of(rows, "factors", "factor_", names)
            return frame
        if names is None:
            names = sorted({name for row in rows for name in row["factors"]})
        for row in rows:
            row["factors"] = _all_of(names, row["factors"])
        return rows

    def get_demand_frame_as_of(
        self,
        organization_id: Id,
        *,
        as_of: dt.datetime,
        horizon: int,
        history: dt.timedelta,
        bucket: Bucket = "day",
        products: Iterable[str] | None = None,
        location_id: Id | None = None,
        factor_names: Iterable[str] | None = None,
        carry: dt.timedelta = dt.timedelta(0),
        delay: dt.timedelta = dt.timedelta(0),
    ) -> list[Row]:
        """What was known at a given time of all products' demand, and of external factors that many buckets before each bucket?

        One statement for all products (or `products`) at all locations (or one). Buckets as in
        `get_demand_series`: those that lie in the `history` before `as_of` (aware), and `horizon` (1 to
        1,000) targets, the first of which begins at `as_of` or later. Demand counts as recorded by `as_of`,
        in buckets that had ended `delay` before; the rows of a series' first day of loading count as known
        when they happened, unless they gave `recorded_at`. Target h begins a certain time after `as_of`, its
        lead; in every bucket the value of step h of a factor is what was known that lead before the bucket
        began, so that training matches forecasting. `carry` as in `get_demand_training_frame`.

        One row a location that has demand: `location_id`, `timezone`, `bucket_starts` and `bucket_ends`
        (lists, UTC), `over_count` (number of buckets that were over), `first_target` (position of the first
        target, from 0), `known_at` (UTC; when all of this was known, at most `as_of`), `series` (list of
        dicts: `product_id`, `buckets` (positions with demand) and `quantities` (floats, in the product's own
        unit)), `factor_names`, `factor_buckets`, `factor_steps`, `factor_values` (lists, or None without
        factors: from this step on the factor has this value in this bucket, up to its next entry there; None:
        not known), `left_out` (dict of factor to the reason why it is missing: its readings have two units).
        Empty: nothing was known of any product.
        """
        length = _BUCKETS[choice_of(bucket, "bucket", tuple(_BUCKETS))]
        longest = length + dt.timedelta(days=3) if bucket == "month" else length + dt.timedelta(hours=2)
        until = time_of(as_of, "as_of")
        steps = whole_of(horizon, "horizon", 1, 1_000)
        back = span_of(history, "history")
        return self._read(
            "get_demand_frame_as_of",
            parse_uuid(organization_id, "organization_id"),
            {
                "as_of": until,
                "bucket": bucket,
                "horizon": steps,
                "location_id": optional_uuid(location_id, "location_id"),
                "products": None if products is None else texts_of(products, "products"),
                "factor_names": None if factor_names is None else texts_of(factor_names, "factor_names"),
                "carry": span_of(carry, "carry"),
                "delay": span_of(delay, "delay"),
                **past_until_now(
                    None, until - back, until + (steps + 2) * longest, default_days=90, filled_by=length
                ),
            },
        )


def _all_of(names: list[str], known: dict[str, Any]) -> dict[str, float | None]:
    return {name: None if known.get(name) is None else float(known[name]) for name in names}
