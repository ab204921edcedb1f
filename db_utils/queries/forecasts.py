"""Demand forecasts: append-only runs, the current and former forecasts, and their accuracy."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any, Literal

from db_utils.cache import Entity, PredictionKind
from db_utils.queries.arguments import (
    Id,
    Number,
    ahead,
    always,
    choice_of,
    optional_number,
    optional_text,
    optional_time,
    optional_uuid,
    past_until_now,
    text_of,
    time_of,
)
from db_utils.queries.cached_predictions import CachedPredictionQueries
from db_utils.queries.records import DemandForecastRecord
from db_utils.queries.runner import Page
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

Purpose = Literal["published", "shadow"]

_A_DAY = "1 days 0.000000 seconds"
"""The default length of a target in `DemandForecastRecord`, in the same format as given ones."""


class ForecastQueries(CachedPredictionQueries):
    """Demand forecasts."""

    def save_demand_forecasts(
        self,
        organization_id: Id,
        forecasts: Iterable[DemandForecastRecord],
        *,
        model_name: str,
        model_version: str,
        available_at: dt.datetime,
        purpose: Purpose = "published",
    ) -> int:
        """Save the predictions of one run and return how many are new.

        Saves a run: `available_at` (aware) is when the model could have known it, its data cut-off. Returns
        how many rows were written; all or none. Saving a run twice stores it once; a newer run never erases
        an older one. A target is an interval (`target_time` and `target_interval`): a run may contain days
        and their week. Predictions saved with `purpose="shadow"` (of a challenger or a trial) affect neither
        the current forecasts, nor the cache, nor the KPI `forecast_wape`; accuracy reports them separately.
        Keys: see `DemandForecastRecord`. Raises `DifferentValuesError` if the run was saved before with other
        values, `InvalidInputError` for a duplicate target, `NotFoundError` for an unknown location.
        """
        organization = parse_uuid(organization_id, "organization_id")
        run = {
            "organization_id": organization,
            "model_name": text_of(model_name, "model_name"),
            "model_version": text_of(model_version, "model_version"),
            "available_at": time_of(available_at, "available_at"),
            "purpose": choice_of(purpose, "purpose", ("published", "shadow")),
        }
        touched: set[Entity] = set()

        def noted(page: Page) -> Page:
            pairs = {(row["product_id"], row["location_id"]) for row in page}
            touched.update((product, uuid.UUID(location)) for product, location in pairs)
            return page

        with self._telling_cache(PredictionKind.DEMAND_FORECAST, organization, touched):
            return self._write_pages(
                "save_demand_forecasts",
                run,
                (
                    _of_a_length(row)
                    for row in self._rows(organization, DemandForecastRecord, forecasts, "forecasts")
                ),
                "forecasts",
                key=("product_id", "location_id", "target_time", "target_interval"),
                prepare=noted,
                check="check_demand_forecasts",
            )

    def get_current_demand_forecasts(
        self,
        organization_id: Id,
        *,
        product_id: str | None = None,
        location_id: Id | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What demand is expected now, by the newest prediction for each target?

        Targets that are not over and begin within `days` times 24 hours from now (default 30), including the
        current day and week; or `start` <= target_time < `end` (aware; no `end`: all that come). Rows by
        product, location and target: `product_id`, `location_id`, `target_time` (UTC; start of the bucket),
        `target_interval` (timedelta; days are local days), `target_end` (UTC; first instant after),
        `predicted_quantity`, `lower_bound`, `upper_bound` (in the product's own unit; bounds None where the
        model gives none), `interval_coverage_pct` (nominal coverage of the bounds, 0 to 100), `model_name`,
        `model_version`, `available_at`, `recorded_at`. Empty: nothing is predicted.
        """
        return self._read(
            "get_current_demand_forecasts",
            parse_uuid(organization_id, "organization_id"),
            {
                "product_id": optional_text(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "with_under_way": start is None,
                **ahead(days, start, end, default_days=30),
            },
        )

    def get_demand_forecasts_as_of(
        self,
        organization_id: Id,
        *,
        as_of: dt.datetime,
        known_by: dt.datetime | None = None,
        product_id: str | None = None,
        location_id: Id | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What demand was expected at a given time, by the newest prediction then available for each target?

        Only what the models could have known at `as_of` (aware) counts; with `known_by`, only what had also
        been saved by then (for audits). Targets with `start` <= target_time < `end` (aware; all by default).
        Rows by product, location and target: `product_id`, `location_id`, `target_time` (UTC),
        `target_interval` (timedelta), `predicted_quantity`, `lower_bound`, `upper_bound` (in the product's
        own unit; bounds None where the model gave none), `interval_coverage_pct`, `model_name`,
        `model_version`, `available_at`, `recorded_at`. Empty: nothing had been predicted by then.
        """
        return self._read(
            "get_demand_forecasts_as_of",
            parse_uuid(organization_id, "organization_id"),
            {
                "as_of": time_of(as_of, "as_of"),
                "known_by": optional_time(known_by, "known_by"),
                "product_id": optional_text(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                **always(start, end),
            },
        )

    def get_demand_forecast_outcomes(
        self,
        organization_id: Id,
        *,
        product_id: str | None = None,
        location_id: Id | None = None,
        fill_quantity: Number | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """What was predicted for each target in advance, and what happened?

        Targets of the last `days` times 24 hours (default 30), or `start` <= target_time < `end` (aware; no
        `end`: now); predictions with available_at <= target_time. Rows by product, location, target and run:
        `product_id`, `location_id`, `target_time` and `target_end` (UTC; a day ends where the location's next
        local day begins), `target_interval` (timedelta), `model_name`, `model_version`, `available_at`,
        `lead_time_days` (local calendar days from available_at to the target), `predicted_quantity`,
        `lower_bound`, `upper_bound`, `actual_quantity` (in the product's own unit; None while the target has
        not ended within the period; `fill_quantity`, by default None, if nothing was recorded), `is_over`
        (whether it has ended), `purpose` (published or shadow). Empty: nothing was predicted.
        """
        return self._read(
            "get_demand_forecast_outcomes",
            parse_uuid(organization_id, "organization_id"),
            {
                "product_id": optional_text(product_id, "product_id"),
                "location_id": optional_uuid(location_id, "location_id"),
                "fill_quantity": optional_number(fill_quantity, "fill_quantity"),
                **past_until_now(days, start, end, default_days=30),
            },
        )

    def get_demand_forecast_accuracy(
        self,
        organization_id: Id,
        *,
        fill_quantity: Number | None = None,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How accurate were the demand forecasts, by model, version, length of the target and lead time?

        Targets as in `get_demand_forecast_outcomes` that are over; of several runs with one lead time the
        newest, and of overlapping targets (a week ahead, forecast each day) a non-overlapping sequence, so
        that no sale counts twice. Rows: `model_name`, `model_version`, `target_interval` (timedelta),
        `lead_time_days` (local calendar days), `target_count` (targets with an outcome), `no_outcome_count`
        (targets for which nothing was recorded: `fill_quantity=0` counts them if a missing row means no
        sale), `actual_quantity` (sum), `wape_pct` (100 * sum of |actual - predicted| / sum of actual), `mae`
        (mean of |actual - predicted|), `bias` (mean of predicted - actual), `interval_count` (predictions
        with bounds), `interval_coverage_pct` (share of outcomes within them, 0 to 100; None without),
        `reason` (why figures are None: no outcome, nothing demanded, or products of different units; see
        `upsert_product`), `purpose` (published or shadow, counted separately). (Hyndman and Koehler, 2006.)
        Empty: no target is over.
        """
        return self._read(
            "get_demand_forecast_accuracy",
            parse_uuid(organization_id, "organization_id"),
            {
                "fill_quantity": optional_number(fill_quantity, "fill_quantity"),
                **past_until_now(days, start, end, default_days=30),
            },
        )


def _of_a_length(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the length of its target, which is part of its key."""
    row.setdefault("target_interval", _A_DAY)
    return row
