"""Versions and roles of models: which one is the champion of which target."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import UUID

from barnameh.errors import UsageError
from barnameh.forecasting.backtest import NAIVES
from barnameh.forecasting.frames import Shape
from barnameh.forecasting.members import DemandModel
from barnameh.forecasting.rules import COMBINATION
from db_utils import OperationalDataQueries

_DEFAULT_ORIGINS = {"quarter_hour": 14, "half_hour": 14, "hour": 14, "day": 12, "week": 12}


def version_of(config: Mapping[str, Any]) -> str:
    """Return a twelve-digit hash of code, libraries and configuration."""
    code = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    libraries = {}
    for name in ("numpy", "scikit-learn"):
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            libraries[name] = ""
    text = json.dumps([dict(config), libraries, hashlib.sha256(b"".join(code)).hexdigest()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def origin_count(shape: Shape, origins: int | None) -> int:
    """Return the number of origins of a backtest, with the default for its bucket."""
    return _DEFAULT_ORIGINS[shape.bucket] if origins is None else origins


def champion_of(
    queries: OperationalDataQueries,
    organization_id: UUID,
    models: Sequence[DemandModel],
    shape: Shape,
    origins: int | None,
) -> tuple[str, dict[str, str], dict[str, tuple[str, dict[str, Any]]]]:
    """Return the target's champion, the current roles, and version and configuration of each runnable model.

    A run's parameters (target, history, origins …) affect its forecasts, so they are part of the version:
    runs with other parameters can coexist, even at the same cut-off.
    """
    asked = {
        "target": f"{shape.horizon} x {shape.bucket}",
        "history_days": shape.history / dt.timedelta(days=1),
        "carry_hours": shape.carry / dt.timedelta(hours=1),
        "delay_hours": shape.delay / dt.timedelta(hours=1),
        "origins": origin_count(shape, origins),
    }
    config: dict[str, tuple[str, dict[str, Any]]] = {}
    own = {"members": [*NAIVES, "log-ridge", "theta", "boosted-trees"], **asked}
    config[COMBINATION] = (version_of(own), own)
    for model in models:
        if model.name in config or model.name in NAIVES:
            raise UsageError(f"a custom model cannot be named {model.name!r}")
        # The bounds are computed here, so this code is part of the version.
        suffix = version_of(asked)[:6]
        what = {"class": f"{type(model).__module__}:{type(model).__name__}", **asked}
        config[model.name] = (f"{model.version}+{suffix}", what)
    there = [
        row
        for row in queries.get_forecast_models(organization_id, kind="demand")
        if row["config"].get("target") == asked["target"]
    ]
    roles = {row["model_name"]: row["role"] for row in reversed(there)}
    current = next((row["model_name"] for row in there if row["role"] == "champion"), COMBINATION)
    # A champion whose code is missing here cannot run; it keeps its role.
    champion = current if current in config else COMBINATION
    return champion, roles, config


def save_models(
    queries: OperationalDataQueries,
    organization_id: UUID,
    roles: Mapping[str, str],
    config: Mapping[str, tuple[str, dict[str, Any]]],
) -> None:
    """Record a demand run's models. The champion's running version takes its role: older ones cannot run."""
    for name, (model_version, what) in config.items():
        is_first = name == COMBINATION and "champion" not in roles.values()
        save_model(
            queries, organization_id, name, model_version, kind="demand", config=what,
            is_champion=is_first or roles.get(name) == "champion",
        )  # fmt: skip


def save_model(
    queries: OperationalDataQueries,
    organization_id: UUID,
    name: str,
    model_version: str,
    *,
    kind: str,
    config: dict[str, Any],
    is_champion: bool = True,
    reason: str | None = None,
) -> None:
    """Record a running model, retire its older challengers, and by default make it its target's champion."""
    is_new = queries.save_forecast_model(organization_id, name, model_version, kind=kind, config=config)
    there = [
        row
        for row in queries.get_forecast_models(organization_id, kind=kind)
        if row["config"].get("target") == config.get("target")
    ]
    for row in there:
        is_older = row["model_name"] == name and row["model_version"] != model_version
        if is_new and is_older and row["role"] == "challenger":
            queries.set_model_role(
                organization_id,
                name,
                row["model_version"],
                role="retired",
                reason=f"version {model_version} came",
            )
    champion = next((row for row in there if row["role"] == "champion"), None)
    if is_champion and (
        champion is None or (champion["model_name"], champion["model_version"]) != (name, model_version)
    ):
        why = "the first model" if champion is None else "a newer version of the champion"
        queries.set_model_role(organization_id, name, model_version, role="champion", reason=reason or why)
