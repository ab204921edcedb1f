"""Forecasting models: their roles and backtests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from db_utils.errors import NotFoundError
from db_utils.queries.arguments import (
    Id,
    Metadata,
    choice_of,
    flag_of,
    metadata_of,
    optional_choice,
    optional_text,
    optional_time,
    text_of,
)
from db_utils.queries.loader import query
from db_utils.queries.records import BacktestRecord
from db_utils.queries.runner import QueryRunner
from db_utils.text_keys import parse_uuid
from db_utils.values import Row

MODEL_KINDS = ("demand", "anomaly", "absence")
MODEL_ROLES = ("champion", "challenger", "retired")


class ModelQueries(QueryRunner):
    """Models and backtests."""

    def save_forecast_model(
        self,
        organization_id: Id,
        model_name: str,
        model_version: str,
        *,
        kind: str,
        config: Metadata | None = None,
    ) -> bool:
        """Save a model and return whether it is new.

        `kind` is demand, anomaly or absence; `config` (dict) what defines the version. A new model is a
        challenger until `set_model_role` says otherwise; an existing one is left unchanged. Raises
        `NotFoundError` for an unknown organization.
        """
        organization = parse_uuid(organization_id, "organization_id")
        parameters = {
            "organization_id": organization,
            "model_name": text_of(model_name, "model_name"),
            "model_version": text_of(model_version, "model_version"),
            "kind": choice_of(kind, "kind", MODEL_KINDS),
            "config": metadata_of(config, "config"),
        }
        self._require_organization(organization)
        return self._db.execute(query("save_forecast_model").sql, parameters) > 0

    def get_forecast_models(
        self, organization_id: Id, *, kind: str | None = None, role: str | None = None
    ) -> list[Row]:
        """Which forecast models does the organization have, and in which role?

        Rows by kind and role (champion, challenger, retired): `model_name`, `model_version`, `kind` (demand,
        anomaly or absence), `role`, `role_since` (UTC), `role_reason` (None where not given), `config`
        (dict), `created_at`. Empty: none was ever saved.
        """
        return self._read(
            "get_forecast_models",
            parse_uuid(organization_id, "organization_id"),
            {
                "kind": optional_choice(kind, "kind", MODEL_KINDS),
                "role": optional_choice(role, "role", MODEL_ROLES),
            },
        )

    def set_model_role(
        self,
        organization_id: Id,
        model_name: str,
        model_version: str,
        *,
        role: str,
        reason: str | None = None,
    ) -> Row:
        """Set the role of a model.

        `role` is champion (its forecasts are published), challenger (its forecasts are kept as shadow
        forecasts) or retired. The former champion of its kind and target (`config["target"]`, such as "14 x
        day"; no target counts as one too) becomes a challenger. Returns the row as `get_forecast_models`
        does. Raises `NotFoundError` for a model that was not saved.
        """
        parameters = {
            "organization_id": parse_uuid(organization_id, "organization_id"),
            "model_name": text_of(model_name, "model_name"),
            "model_version": text_of(model_version, "model_version"),
            "role": choice_of(role, "role", MODEL_ROLES),
            "reason": optional_text(reason, "reason"),
        }
        with self._db.transaction() as transaction:
            if role == "champion":
                leaving = {name: value for name, value in parameters.items() if name != "role"}
                leaving["reason"] = f"{model_name} {model_version} became champion"
                transaction.execute(query("step_down_champion").sql, leaving)
            rows = self._change("set_model_role", parameters, transaction)
            if not rows:
                raise NotFoundError(
                    f"model {model_name} {model_version} does not exist in organization {organization_id}: "
                    "save_forecast_model() creates it"
                )
            return rows[0]

    def save_forecast_backtests(self, organization_id: Id, backtests: Iterable[BacktestRecord]) -> int:
        """Save backtest results and return how many are new.

        Returns how many rows were written; all or none. Backtests affect no forecast and no KPI. Keys: see
        `BacktestRecord`. Raises `NotFoundError` for an unknown model or location.
        """
        organization = parse_uuid(organization_id, "organization_id")
        return self._write_pages(
            "save_forecast_backtests",
            {"organization_id": organization},
            self._rows(organization, BacktestRecord, backtests, "backtests"),
            "backtests",
            key=(
                "model_name",
                "model_version",
                "as_of",
                "target_interval",
                "first_step",
                "last_step",
                "product_id",
                "location_id",
            ),
        )

    def get_forecast_backtests(
        self,
        organization_id: Id,
        *,
        model_name: str | None = None,
        by_series: bool = False,
        as_of: dt.datetime | None = None,
    ) -> list[Row]:
        """How accurate was each model on past data, by its newest backtest?

        For all series together, or with `by_series` for each; the newest backtest, or that of `as_of`
        (aware). Rows by model, version, length of the target, series and step: the keys of `BacktestRecord`;
        figures that cannot be computed are None with a `reason`. Empty: nothing was backtested.
        """
        return self._read(
            "get_forecast_backtests",
            parse_uuid(organization_id, "organization_id"),
            {
                "model_name": optional_text(model_name, "model_name"),
                "by_series": flag_of(by_series, "by_series"),
                "as_of": optional_time(as_of, "as_of"),
            },
        )
