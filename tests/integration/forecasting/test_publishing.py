"""Publishing: what is published, what is refused, and that a repeated run writes once."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import numpy as np
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from barnameh.cli.common import organization_of
from barnameh.errors import UsageError
from barnameh.forecasting import DemandFrame, backtest_demand, forecast_demand, monitor, promote_model
from barnameh.forecasting import run as service
from barnameh.forecasting.members import seasonal_naive
from db_utils import DatabaseManager, DbUtilsError, OperationalDataQueries
from tests.integration.forecasting.conftest import DAYS, LAST, ORIGIN, Shop, days, midnight, quantity_of

DAY = dt.timedelta(days=1)


class Wild:
    """A model that is always wrong."""

    name, version = "wild", "1"

    def fit(self, frame: DemandFrame) -> None: ...

    def predict(self, frame: DemandFrame) -> list[Any]:
        return [np.full((len(panel.products), panel.horizon), 1e6) for panel in frame.panels]


class Knowing(Wild):
    """A model that knows the formula of the figures."""

    name = "knowing"

    def predict(self, frame: DemandFrame) -> list[Any]:
        return [
            np.array(
                [
                    [
                        quantity_of(product, t.date())
                        for t in panel.local()[panel.first_target :][: panel.horizon]
                    ]
                    for product in panel.products
                ],
                dtype=float,
            )
            for panel in frame.panels
        ]


def test_a_run_twice_is_there_once(shop: Shop) -> None:
    first = shop.forecast()
    assert (first.written, len(first.series)) == (28, 2)
    there = shop.saved()
    assert shop.forecast().written == 0
    # Later, with nothing new: the same cut-off, the same forecasts.
    assert shop.forecast(ORIGIN + DAY / 3).written == 0
    assert shop.saved() == there
    assert {row["available_at"] for row in there} == {first.available_at} == {ORIGIN}
    assert min(row["target_time"] for row in there) == ORIGIN


def test_demand_put_back_under_an_earlier_time_makes_a_new_run(shop: Shop) -> None:
    day = midnight(LAST - 3 * DAY)
    rows = shop.db.execute_query("SELECT * FROM demand_history WHERE time = %s AND product_id = 'A'", (day,))
    shop.db.execute("DELETE FROM demand_history WHERE time = %s AND product_id = 'A'", (day,))
    now = shop.db.execute_query("SELECT now() AS now")[0]["now"]
    without = shop.forecast(now)
    shop.db.execute(
        "INSERT INTO demand_history (organization_id, time, product_id, location_id, quantity, recorded_at) "
        "VALUES (%(organization_id)s, %(time)s, %(product_id)s, %(location_id)s, 9999, %(recorded_at)s)",
        rows[0],
    )
    later = now + DAY / 24
    restored = shop.forecast(later)
    assert (without.available_at < now, restored.available_at, restored.written) == (True, later, 28)
    # Once: the next run with nothing new finds it.
    there = shop.saved()
    assert shop.forecast(later + DAY / 24).written == 0
    assert shop.saved() == there


@pytest.mark.thorough
def test_as_of_the_past_says_what_was_said_then(shop: Shop) -> None:
    then = shop.forecast()
    for product in ("A", "B"):
        shop.record(product, {LAST + number * DAY: 1_000 for number in range(1, 5)})
    assert [one.forecasts for one in shop.forecast(ORIGIN, dry_run=True).series] == [
        one.forecasts for one in then.series
    ]


def test_a_model_that_is_worse_is_not_published(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        service.trials, "combine", lambda trial, names: (trial.said[names[0]] * 3, [{} for _ in trial.series])
    )
    run = shop.forecast()
    assert {one.model_name for one in run.series} <= {"seasonal-naive", "seasonal-median"}
    assert len(run.attention) == 2
    assert all("WAPE" in (one.reason or "") for one in run.series)
    assert {row["model_name"] for row in shop.saved()} == {one.model_name for one in run.series}


def test_a_model_of_ones_own_cannot_publish_around_the_rules(shop: Shop) -> None:
    run = shop.forecast(models=[Wild()])
    assert "wild" not in {one.model_name for one in run.series}
    assert {row["purpose"] for row in shop.saved() if row["model_name"] == "wild"} == {"shadow"}
    assert not any(
        row["model_name"] == "wild"
        for row in shop.queries.get_current_demand_forecasts(
            shop.organization_id, start=ORIGIN, end=ORIGIN + 30 * DAY
        )
    )
    done, reason = promote_model(
        shop.db, shop.organization_id, "wild", models=[Wild()], origins=20, as_of=ORIGIN
    )
    assert not done
    assert "the rule" in reason or "origins" in reason
    # Even as a manually set champion, it is compared with the naive forecast.
    (wild,) = [r for r in shop.queries.get_forecast_models(shop.organization_id) if r["model_name"] == "wild"]
    shop.queries.set_model_role(shop.organization_id, "wild", wild["model_version"], role="champion")
    held = shop.forecast(models=[Wild()], dry_run=True)
    assert held.champion == "wild"
    assert all(one.model_name.startswith("seasonal-") for one in held.series)


@pytest.mark.thorough
def test_a_better_challenger_becomes_champion_by_the_rule(shop: Shop) -> None:
    shop.forecast()
    assert promote_model(
        shop.db, shop.organization_id, "knowing", models=[Knowing()], origins=20, as_of=ORIGIN
    )[0]
    roles = {r["model_name"]: r["role"] for r in shop.queries.get_forecast_models(shop.organization_id)}
    assert roles == {"knowing": "champion", "combination": "challenger"}


def test_a_product_in_small_units_does_not_decide_a_promotion(bare: Shop) -> None:
    class Half(Knowing):
        """Knows product A, in tonnes; repeats last week for B, in grams."""

        name = "half"

        def predict(self, frame: DemandFrame) -> list[Any]:
            known = super().predict(frame)
            for panel, values in zip(frame.panels, known, strict=True):
                row = panel.products.index("B")
                values[row] = seasonal_naive(panel)[row]
            return known

    bare.record("A", {day: quantity_of("A", day) for day in days()})
    bare.record("B", {day: 1_000_000 * quantity_of("B", day) for day in days()})
    bare.loaded_before(ORIGIN - dt.timedelta(days=60))
    bare.forecast()
    done, reason = promote_model(
        bare.db, bare.organization_id, "half", models=[Half()], origins=20, as_of=ORIGIN
    )
    assert (done, "mean scaled error lower" in reason) == (True, True), reason


@pytest.mark.thorough
def test_two_horizons_at_one_cut_off_stand_side_by_side(shop: Shop) -> None:
    near, far, weeks = shop.forecast(horizon=7), shop.forecast(), shop.forecast(bucket="week", horizon=3)
    assert near.available_at == far.available_at
    assert (near.written, far.written, weeks.written) == (14, 28, 6)
    assert shop.forecast(horizon=7).written == shop.forecast().written == 0
    # Other parameters at the same cut-off are other versions too, and so is another number of origins.
    assert shop.forecast(origins=9).written == 28
    assert shop.forecast(delay=DAY / 8).champion == "combination"
    # Each target has its own champion; a backtest with more origins does not make one.
    assert backtest_demand(shop.db, shop.organization_id, as_of=ORIGIN, origins=20)
    champions = [
        row["config"]["target"]
        for row in shop.queries.get_forecast_models(shop.organization_id, role="champion")
    ]
    assert sorted(champions) == ["14 x day", "3 x week", "7 x day"]
    current = shop.queries.get_current_demand_forecasts(
        shop.organization_id, start=ORIGIN, end=ORIGIN + 30 * DAY
    )
    assert len({(r["product_id"], r["target_time"], r["target_interval"]) for r in current}) == len(current)
    assert {r["target_interval"] for r in current} == {DAY, 7 * DAY}


def test_days_are_watched_by_the_backtest_of_days(shop: Shop) -> None:
    run = shop.forecast()
    # For weeks, an impossible accuracy was promised.
    weekly: list[Any] = [
        {
            **row,
            "target_interval": 7 * DAY,
            "wape_pct": 0.0001,
            "naive_wape_pct": 0.0001,
            "as_of": ORIGIN + DAY,
        }
        for row in shop.queries.get_forecast_backtests(shop.organization_id, by_series=True)
    ]
    assert shop.queries.save_forecast_backtests(shop.organization_id, weekly) == 2
    for one in run.series:
        shop.record(
            one.product_id,
            {
                LAST + (n + 1) * DAY: round(row["predicted_quantity"] * (1.01 if n % 2 else 0.99), 3)
                for n, row in enumerate(one.forecasts)
            },
        )
    opened = monitor(shop.db, shop.organization_id, now=ORIGIN + 14 * DAY + DAY / 2).opened
    assert [one for one in opened if "forecast_drift" in one] == []


def test_a_backtest_moves_no_forecast_and_no_kpi(shop: Shop) -> None:
    start, end = ORIGIN - 7 * DAY, ORIGIN
    shop.queries.save_demand_forecasts(
        shop.organization_id,
        [
            {"product_id": "A", "location_id": shop.location_id, "target_time": midnight(day), "predicted_quantity": quantity_of("A", day)}
            for day in days(7)
        ],
        model_name="good", model_version="1", available_at=start - DAY,
    )  # fmt: skip

    def seen() -> Any:
        kpis = shop.queries.get_kpi_summary(shop.organization_id, start=start, end=end)
        current = shop.queries.get_demand_forecasts_as_of(
            shop.organization_id, as_of=end, start=start, end=end
        )
        return [row for row in kpis if row["kpi"] == "forecast_wape"], current

    before = seen()
    assert backtest_demand(shop.db, shop.organization_id, as_of=ORIGIN)
    shop.queries.save_demand_forecasts(
        shop.organization_id,
        [
            {"product_id": "A", "location_id": shop.location_id, "target_time": midnight(day), "predicted_quantity": 1}
            for day in days(7)
        ],
        model_name="bad", model_version="1", available_at=start - DAY / 2, purpose="shadow",
    )  # fmt: skip
    assert seen() == before
    accuracy = shop.queries.get_demand_forecast_accuracy(shop.organization_id, start=start, end=end)
    assert {(row["model_name"], row["purpose"]) for row in accuracy} == {
        ("good", "published"),
        ("bad", "shadow"),
    }


def test_zeros_one_row_gaps_and_unknown_factors(bare: Shop) -> None:
    bare.record("ZERO", dict.fromkeys(days(), 0))
    bare.record("ONE", {LAST - 3 * DAY: 5})
    bare.record(
        "GAPS", {day: quantity_of("A", day) for day in days() if day.toordinal() % 3 and day < LAST - 9 * DAY}
    )
    bare.factor("never", dict.fromkeys(days(DAYS, LAST + 16 * DAY), 1.0), dt.timedelta(0))
    run = bare.forecast()
    by_product = {one.product_id: one for one in run.series}
    assert {row["predicted_quantity"] for row in by_product["ZERO"].forecasts} == {0}
    assert {row["predicted_quantity"] for row in by_product["ONE"].forecasts} == {5}
    assert by_product["ONE"].model_name.startswith("seasonal-")
    assert "history" in (by_product["ONE"].reason or "")
    assert all(
        row["lower_bound"] <= row["predicted_quantity"] <= row["upper_bound"]
        for one in run.series
        for row in one.forecasts
    )
    assert "never" in run.factors_dropped
    assert run.written == 42


def test_nothing_known_is_said_and_nothing_is_written(bare: Shop) -> None:
    with pytest.raises(UsageError, match="record demand first"):
        bare.forecast()
    assert bare.saved() == []


@pytest.mark.slow
def test_a_run_that_was_killed_wrote_nothing_and_is_run_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OperationalDataQueries, "save_demand_forecasts", _killed)
        with pytest.raises(KeyboardInterrupt):
            shop.forecast()
    assert shop.saved() == []
    assert shop.queries.get_forecast_models(shop.organization_id) == []
    assert shop.forecast().written == 28


def _killed(*arguments: Any, **named: Any) -> int:
    raise KeyboardInterrupt


def test_the_backtest_is_stored_with_its_coverage(shop: Shop) -> None:
    run = shop.forecast()
    (whole,) = [
        row
        for row in shop.queries.get_forecast_backtests(shop.organization_id)
        if (row["first_step"], row["last_step"]) == (1, 14)
    ]
    assert float(whole["wape_pct"]) == pytest.approx(run.wape_pct, abs=1e-5)
    assert 75 <= whole["interval_coverage_pct"] <= 100
    assert whole["origin_count"] == run.origin_count
    assert len(shop.queries.get_forecast_backtests(shop.organization_id, by_series=True)) == 2


def test_alerts_open_once_and_resolve_by_themselves(shop: Shop) -> None:
    shop.queries.set_location_code(shop.organization_id, shop.location_id, location_code="H1")
    shop.forecast()
    targets = {LAST + number * DAY: 3 * quantity_of("A", LAST + number * DAY) for number in range(1, 15)}
    # Not predictable: three times as much.
    shop.record("A", targets)
    shop.db.execute(
        "UPDATE demand_history SET recorded_at = %s WHERE time >= %s", (ORIGIN + 14 * DAY, ORIGIN)
    )
    drifted = monitor(shop.db, shop.organization_id, now=ORIGIN + 14 * DAY)
    assert "forecast_drift: A at Hall (H1), by day" in drifted.opened
    # The next run's backtest has the drift in it, and is no excuse.
    shop.forecast(ORIGIN + 14 * DAY)
    again = monitor(shop.db, shop.organization_id, now=ORIGIN + 14 * DAY)
    assert (again.opened, again.resolved) == ([], [])
    shop.db.execute("DELETE FROM alerts WHERE alert_type = 'forecast_drift'")
    monitor(shop.db, shop.organization_id, now=ORIGIN + 14 * DAY)
    (alert,) = [
        row
        for row in shop.queries.get_active_alerts(shop.organization_id)
        if row["alert_type"] == "forecast_drift"
    ]
    assert "WAPE" in alert["message"]
    assert (alert["title"], alert["location_id"]) == (
        "Forecasts of A at Hall (H1) are worse than their backtest",
        shop.location_id,
    )
    late = monitor(shop.db, shop.organization_id, now=ORIGIN + 10 * DAY)
    assert "demand_late: Hall (H1)" in late.open
    again = monitor(shop.db, shop.organization_id, now=ORIGIN + 10 * DAY)
    assert again.opened == []
    open_alerts = shop.queries.get_active_alerts(shop.organization_id)
    assert [row["alert_type"] for row in open_alerts].count("demand_late") == 1
    assert "demand_late: Hall (H1)" in monitor(shop.db, shop.organization_id, now=ORIGIN + DAY).resolved


def test_a_frame_of_an_unknown_bucket_is_refused(shop: Shop) -> None:
    with pytest.raises(UsageError, match="bucket"):
        forecast_demand(shop.db, shop.organization_id, bucket="year")
    with pytest.raises(DbUtilsError, match="horizon"):
        forecast_demand(shop.db, shop.organization_id, horizon=0)


def test_an_applications_own_login_forecasts_in_its_scope(shop: Shop) -> None:
    role, password = f"forecasts_{uuid.uuid4().hex[:10]}", "a long password"
    shop.db.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        shop.db.execute(f"GRANT barnameh_tenant TO {role} WITH INHERIT FALSE, SET TRUE")
        url = make_dsn(**{**parse_dsn(shop.db.settings.database_url), "user": role, "password": password})
        with DatabaseManager(url) as application:
            organization_id, timezone = organization_of(application, str(shop.organization_id))
            assert (organization_id, timezone) == (shop.organization_id, "Europe/Berlin")
            assert forecast_demand(application, organization_id, as_of=ORIGIN).written == 28
            with pytest.raises(UsageError, match="no organization"):
                organization_of(application, str(uuid.uuid4()))
        assert len(shop.saved()) == 28
    finally:
        shop.db.execute(f"DROP OWNED BY {role}")
        shop.db.execute(f"DROP ROLE {role}")
