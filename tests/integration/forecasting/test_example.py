"""The worked example goes through the loop, and what it says is what the file says."""

from __future__ import annotations

import pytest

from db_utils import DatabaseManager, OperationalDataQueries
from examples import electricity, electricity_forecasts

pytestmark = pytest.mark.slow


def test_the_loop_on_a_small_cut(empty_database: DatabaseManager, capsys: pytest.CaptureFixture[str]) -> None:
    history, ahead = 35, 2
    accuracy = electricity_forecasts.loop(empty_database, history, ahead)
    file = [row["demand"] for row in electricity.read_file()]
    hours = [file[2 * n] + file[2 * n + 1] for n in range(24 * (history + ahead))][-24 * ahead :]
    (organization,) = OperationalDataQueries(empty_database).get_organizations()
    queries = OperationalDataQueries(empty_database.tenant(organization["organization_id"]))
    start = electricity.START + history * electricity_forecasts.DAY
    said = queries.get_current_demand_forecasts(
        organization["organization_id"], start=start, end=start + ahead * electricity_forecasts.DAY
    )
    assert len(said) == len(hours) == 24 * ahead
    missed = sum(abs(row["predicted_quantity"] - hour) for row, hour in zip(said, hours, strict=True))
    figures = {row["model_name"]: row for row in accuracy}
    assert sum(row["target_count"] for row in accuracy) == len(hours)
    if len(figures) == 1:
        (row,) = accuracy
        assert float(row["wape_pct"]) == pytest.approx(float(100 * missed / sum(hours)), abs=0.01)
    # Half the day-ahead error of doing nothing at all, on any day of this file.
    assert 100 * missed / sum(hours) < 15
    printed = capsys.readouterr().out
    assert printed.count("is published (24 hours)") == ahead
    assert "is champion: the first model" in printed
    assert "temperature" not in printed
