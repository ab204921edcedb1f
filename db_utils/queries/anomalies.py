"""Anomaly predictions: bottlenecks, failures and others, their outcomes and their accuracy."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any

from db_utils.cache import PredictionKind
from db_utils.errors import InvalidInputError
from db_utils.queries.arguments import (
    Id,
    choice_of,
    flag_of,
    optional_choice,
    optional_time,
    optional_uuid,
    past_until_now,
    text_of,
    time_of,
)
from db_utils.queries.cached_predictions import ACTIVE, CachedPredictionQueries
from db_utils.queries.records import ANOMALY_TYPES, AnomalyRecord
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

OUTCOMES = ("confirmed", "false_alarm", "unknown")


class AnomalyQueries(CachedPredictionQueries):
    """Anomaly predictions."""

    def save_anomaly_predictions(
        self,
        organization_id: Id,
        anomalies: Iterable[AnomalyRecord],
        *,
        model_name: str,
        model_version: str,
        available_at: dt.datetime,
    ) -> int:
        """Save the predictions of one run and return how many are new.

        Saves a run: `available_at` (aware) is when the model could have known it, its data cut-off. Returns
        how many rows were written; all or none. Saving a run twice stores it once. Keys: see `AnomalyRecord`.
        Raises `DifferentValuesError` where a prediction was saved before with other values, `NotFoundError`
        for an unknown resource.
        """
        organization = parse_uuid(organization_id, "organization_id")
        run = {
            "organization_id": organization,
            "model_name": text_of(model_name, "model_name"),
            "model_version": text_of(model_version, "model_version"),
            "available_at": time_of(available_at, "available_at"),
        }
        with self._telling_cache(PredictionKind.ANOMALY_PREDICTION, organization, {ACTIVE}):
            return self._write_pages(
                "save_anomaly_predictions",
                run,
                (
                    _with_id(row, run)
                    for row in self._rows(organization, AnomalyRecord, anomalies, "anomalies")
                ),
                "anomalies",
                key=("anomaly_id",),
                check="check_anomaly_predictions",
            )

    def get_active_anomaly_predictions(
        self,
        organization_id: Id,
        *,
        resource_id: Id | None = None,
        anomaly_type: str | None = None,
        include_acknowledged: bool = False,
    ) -> list[Row]:
        """Which predicted anomalies are open, most probable first?

        Those with status active; with `include_acknowledged` also acknowledged ones. Rows by probability,
        then `predicted_for`: `anomaly_id`, `resource_id`, `resource_name`, `location_id` (the resource's),
        `anomaly_type` (bottleneck, failure, quality, performance or safety), `severity` (low, medium, high or
        critical), `status`, `probability` (0 to 1), `predicted_for` (UTC), `description`, `model_name`,
        `model_version`, `available_at`, `recorded_at`, `metadata` (dict). Empty: none.
        """
        return self._read(
            "get_active_anomaly_predictions",
            parse_uuid(organization_id, "organization_id"),
            {
                "resource_id": optional_uuid(resource_id, "resource_id"),
                "anomaly_type": optional_choice(anomaly_type, "anomaly_type", ANOMALY_TYPES),
                "include_acknowledged": flag_of(include_acknowledged, "include_acknowledged"),
            },
        )

    def get_recent_bottlenecks(self, organization_id: Id) -> list[Row]:
        """Which predicted severe bottlenecks are open, most probable first?

        Active bottlenecks of severity high or critical. Rows by probability, then `predicted_for`: `anomaly_id`,
        `resource_id`, `resource_name`, `location_id` (the resource's), `severity`, `probability` (0 to 1),
        `predicted_for` (UTC), `description`, `model_name`, `model_version`, `available_at`, `recorded_at`,
        `metadata` (dict). Empty: none.
        """
        return self._read("get_recent_bottlenecks", parse_uuid(organization_id, "organization_id"), {})

    def get_anomaly_predictions_as_of(
        self, organization_id: Id, *, as_of: dt.datetime, known_by: dt.datetime | None = None
    ) -> list[Row]:
        """Which predicted anomalies were open at a given time, most probable first?

        Only what the models could have known at `as_of` (aware) counts; with `known_by`, only what had also
        been saved by then. Rows by probability, then `predicted_for`: `anomaly_id`, `resource_id`,
        `anomaly_type`, `severity`, `probability` (0 to 1), `predicted_for` (UTC), `description`,
        `model_name`, `model_version`, `available_at`, `recorded_at`. Empty: none.
        """
        return self._read(
            "get_anomaly_predictions_as_of",
            parse_uuid(organization_id, "organization_id"),
            {"as_of": time_of(as_of, "as_of"), "known_by": optional_time(known_by, "known_by")},
        )

    def acknowledge_anomaly_prediction(self, organization_id: Id, anomaly_id: Id) -> Row:
        """Acknowledge a prediction and return its row.

        Returns the row: `anomaly_id`, `resource_id`, `anomaly_type`, `severity`, `status` (acknowledged),
        `probability`, `predicted_for`, `outcome`, `occurred_at`, `closed_at` (None), `updated_at`. Raises
        `WrongStateError` if it is already acknowledged or closed, `NotFoundError` for an unknown prediction.
        """
        return self._change_status(
            "acknowledge_anomaly_prediction",
            organization_id,
            anomaly_id,
            {},
            only="only an active one can be acknowledged",
        )

    def close_anomaly_prediction(
        self,
        organization_id: Id,
        anomaly_id: Id,
        *,
        outcome: str,
        occurred_at: dt.datetime | None = None,
        closed_at: dt.datetime | None = None,
    ) -> Row:
        """Close a prediction with its outcome and return its row.

        `outcome` is confirmed (then `occurred_at`, aware, is required), false_alarm or unknown; `closed_at`
        (aware) is when that became known, now by default. Returns the row as `acknowledge_anomaly_prediction`
        does. Raises `WrongStateError` if it is already closed, `NotFoundError` for an unknown prediction.
        """
        outcome = choice_of(outcome, "outcome", OUTCOMES)
        occurred = optional_time(occurred_at, "occurred_at")
        if outcome == "confirmed" and occurred is None:
            raise InvalidInputError(
                "occurred_at is missing: a confirmed prediction needs the time at which it happened"
            )
        if outcome != "confirmed" and occurred is not None:
            raise InvalidInputError(
                f"occurred_at is given with outcome {outcome}: only a confirmed prediction has one"
            )
        return self._change_status(
            "close_anomaly_prediction",
            organization_id,
            anomaly_id,
            {"outcome": outcome, "occurred_at": occurred, "closed_at": optional_time(closed_at, "closed_at")},
            only="only an active or acknowledged one can be closed",
        )

    def _change_status(
        self, name: str, organization_id: Id, anomaly_id: Id, parameters: dict[str, Any], *, only: str
    ) -> Row:
        organization = parse_uuid(organization_id, "organization_id")
        with self._telling_cache(PredictionKind.ANOMALY_PREDICTION, organization, {ACTIVE}):
            return self._transition(
                name,
                "check_anomaly_prediction",
                "anomaly prediction",
                {
                    "organization_id": organization,
                    "anomaly_id": parse_uuid(anomaly_id, "anomaly_id"),
                    **parameters,
                },
                only=only,
                key=("anomaly_id",),
            )

    def get_anomaly_prediction_scores(
        self,
        organization_id: Id,
        *,
        days: int | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> list[Row]:
        """How accurate were the anomaly predictions, by type, model and version?

        Predictions for the last `days` times 24 hours (default 30), or `start` <= predicted_for < `end`
        (aware; no `end`: now). Rows by type, model and version: `anomaly_type`, `model_name`,
        `model_version`, `prediction_count`, `confirmed_count`, `false_alarm_count`, `unknown_count`,
        `open_count`, `precision_pct` (confirmed of confirmed and false alarms, 0 to 100), `breakdown_count`
        and `predicted_breakdown_count` (failures only: those that began in the period, where overlapping or
        adjacent breakdowns of one machine count once, as in the KPIs; and those that a confirmed prediction
        had announced), `recall_pct` (their share, 0 to 100), `lead_time_minutes_mean` (from available_at to
        occurred_at). None where there is nothing to divide by. Empty: nothing was predicted.
        """
        return self._read(
            "get_anomaly_prediction_scores",
            parse_uuid(organization_id, "organization_id"),
            past_until_now(days, start, end, default_days=30),
        )


def _with_id(row: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """Return the row with an id; a generated id is the same for the same prediction of the same run."""
    if "anomaly_id" not in row:
        said = (
            row["resource_id"],
            row["anomaly_type"],
            row["predicted_for"],
            run["model_name"],
            run["model_version"],
            run["available_at"].isoformat(),
        )
        row["anomaly_id"] = str(uuid.uuid5(run["organization_id"], "\n".join(said)))
    return row
