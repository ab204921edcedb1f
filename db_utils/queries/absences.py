"""Absence forecasts: expected absences, and their accuracy."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from db_utils.cache import Entity, PredictionKind
from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import Id, local_days, optional_time, optional_uuid, text_of, time_of
from db_utils.queries.cached_predictions import CachedPredictionQueries
from db_utils.queries.records import AbsenceForecastRecord
from db_utils.queries.runner import Page
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

_ABOUT_ONE = frozenset(("employee_id", "absence_probability"))
_ABOUT_MANY = frozenset(("location_id", "expected_absences"))


class AbsenceQueries(CachedPredictionQueries):
    """Absence forecasts."""

    def save_absence_forecasts(
        self,
        organization_id: Id,
        forecasts: Iterable[AbsenceForecastRecord],
        *,
        model_name: str,
        model_version: str,
        available_at: dt.datetime,
    ) -> int:
        """Save the predictions of one run and return how many are new.

        Saves a run: `available_at` (aware) is when the model could have known it, its data cut-off. Returns
        how many rows were written; all or none. Saving a run twice stores it once; a newer run never erases
        an older one. Keys: see `AbsenceForecastRecord`. Raises `DifferentValuesError` where the run was saved
        before with other values, `NotFoundError` for an unknown employee or location.
        """
        organization = parse_uuid(organization_id, "organization_id")
        run = {
            "organization_id": organization,
            "model_name": text_of(model_name, "model_name"),
            "model_version": text_of(model_version, "model_version"),
            "available_at": time_of(available_at, "available_at"),
        }
        touched: set[Entity] = set()

        def noted(page: Page) -> Page:
            for column in ("location_id", "employee_id"):
                subjects = {row[column] for row in page if column in row}
                touched.update((column.removesuffix("_id"), uuid.UUID(subject)) for subject in subjects)
            return page

        with self._telling_cache(PredictionKind.ABSENCE_FORECAST, organization, touched):
            return self._write_pages(
                "save_absence_forecasts",
                run,
                _of_one_or_many(self._rows(organization, AbsenceForecastRecord, forecasts, "forecasts")),
                "forecasts",
                key=("location_id", "employee_id", "target_date"),
                prepare=noted,
                check="check_absence_forecasts",
            )

    def get_current_absence_forecasts(
        self,
        organization_id: Id,
        *,
        location_id: Id | None = None,
        employee_id: Id | None = None,
        days: int | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """Who is expected to be away, and how many at each location, by the newest prediction for each day?

        Local days: the next `days`, today among them (default 14; today is the organization's), or `first_date` <= day <
        `end_date` (no `end_date`: all that come). Rows by day, location and employee: `target_date`, and either
        `location_id` with `expected_absences` (a number of people) or `employee_id` with `absence_probability` (0 to
        1), the others None; `model_name`, `model_version`, `available_at`, `recorded_at`. Empty: nothing is
        predicted.
        """
        return self._read(
            "get_current_absence_forecasts",
            parse_uuid(organization_id, "organization_id"),
            {
                "location_id": optional_uuid(location_id, "location_id"),
                "employee_id": optional_uuid(employee_id, "employee_id"),
                **local_days(days, first_date, end_date, default_days=14),
            },
        )

    def get_absence_forecasts_as_of(
        self,
        organization_id: Id,
        *,
        as_of: dt.datetime,
        known_by: dt.datetime | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """As of a given time, who was expected to be away, and how many at each location?

        Only what the models could have known at `as_of` (aware) counts; with `known_by`, only what had also
        been saved by then. Local days `first_date` <= day < `end_date` (all by default). Rows by day,
        location and employee: `target_date`, `location_id`, `employee_id`, `absence_probability`,
        `expected_absences` (as in `get_current_absence_forecasts`), `model_name`, `model_version`,
        `available_at`, `recorded_at`. Empty: nothing had been predicted by then.
        """
        window = local_days(None, first_date, end_date)
        del window["days"]
        return self._read(
            "get_absence_forecasts_as_of",
            parse_uuid(organization_id, "organization_id"),
            {"as_of": time_of(as_of, "as_of"), "known_by": optional_time(known_by, "known_by"), **window},
        )

    def get_absence_forecast_accuracy(
        self,
        organization_id: Id,
        *,
        days: int | None = None,
        first_date: dt.date | None = None,
        end_date: dt.date | None = None,
    ) -> list[Row]:
        """How accurate were the absence forecasts, by subject, model, version and lead time?

        Local days: the last `days` that are over (default 30), or `first_date` <= day < `end_date` (no
        `end_date`: up to yesterday). Rows by subject, model, version and lead time: `subject` (employee or
        location), `model_name`, `model_version`, `lead_time_days` (whole days), `target_count`,
        `actual_absences`, `mae` and `bias` (mean of |predicted - actual| and of predicted - actual),
        `wape_pct` (None if there were no absences), `brier_score` (mean squared error of the probability, 0
        best; employees only; Brier, 1950). Empty: nothing to compare.
        """
        return self._read(
            "get_absence_forecast_accuracy",
            parse_uuid(organization_id, "organization_id"),
            local_days(days, first_date, end_date, default_days=30),
        )


def _of_one_or_many(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows; check that each is about either one employee or one location."""
    for number, row in enumerate(rows, start=1):
        told = row.keys() & (_ABOUT_ONE | _ABOUT_MANY)
        if told not in (_ABOUT_ONE, _ABOUT_MANY):
            raise InvalidInputError(
                f"forecasts: row {number} has {', '.join(sorted(told)) or 'no subject'}: "
                "give employee_id and absence_probability, or location_id and expected_absences"
            )
        yield row
