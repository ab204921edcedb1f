"""Forecasting: backtests, publishes forecasts no worse than naive ones, and monitors them for drift."""

from __future__ import annotations

from barnameh.forecasting.absences import AbsenceRun, forecast_absences
from barnameh.forecasting.anomalies import AnomalyRun, detect_anomalies
from barnameh.forecasting.frames import DemandFrame, Panel, Shape, read_frame
from barnameh.forecasting.members import DemandModel
from barnameh.forecasting.monitor import Watch, monitor
from barnameh.forecasting.run import (
    ForecastRun,
    SeriesResult,
    backtest_demand,
    forecast_demand,
    promote_model,
)

__all__ = [
    "AbsenceRun",
    "AnomalyRun",
    "DemandFrame",
    "DemandModel",
    "ForecastRun",
    "Panel",
    "SeriesResult",
    "Shape",
    "Watch",
    "backtest_demand",
    "detect_anomalies",
    "forecast_absences",
    "forecast_demand",
    "monitor",
    "promote_model",
    "read_frame",
]
