"""The report shows which model forecasts, its skill over naive, and the coverage of its interval."""

from __future__ import annotations

import datetime as dt

import pytest

from db_utils import report
from tests.integration.forecasting.conftest import DAYS, LAST, ORIGIN, Shop, days, quantity_of
from tests.integration.report.conftest import Page

pytestmark = pytest.mark.usefixtures("no_drawing")
DAY = dt.timedelta(days=1)


def test_the_report_tells_skill_interval_and_the_last_change_of_champion(shop: Shop) -> None:
    organization = str(shop.organization_id)
    assert "models" not in Page(report.build(shop.db, organization)).titles
    shop.record("ODD", {day: (quantity_of("A", day) * 7919) % 97 for day in days(DAYS)})
    shop.loaded_before(ORIGIN - 60 * DAY)
    run = shop.forecast()
    period = {"start": str(LAST - 16 * DAY), "end": str(LAST + 14 * DAY)}
    page = Page(report.build(shop.db, organization, **period))
    assert run.skill_pct is not None
    assert run.interval_coverage_pct is not None
    assert page.titles["models"] == (
        f"combination is {abs(run.skill_pct):.1f} % {'better' if run.skill_pct >= 0 else 'worse'} than {run.naive_name}; "
        f"its 90 % interval covered {run.interval_coverage_pct:.1f} %"
    )
    (model,) = page.table("Models, the newest change first")
    assert model[:3] == [f"combination {run.version}", "14 x day", "champion"]
    assert model[4] == "the first model"
    assert [float(text) for text in model[5:9]] == pytest.approx(
        [run.wape_pct, run.naive_wape_pct, run.skill_pct, run.interval_coverage_pct], abs=0.051
    )
    published = {row[0]: (row[3], row[8]) for row in page.table("Each series")}
    assert published == {one.product_id: (one.model_name, one.reason or "") for one in run.series}
    assert any("The champion changed last on" in word for word in page.words)
    assert [row[2] for row in page.table("Accuracy by lead time")] == [
        "1 to 4",
        "1 to 14",
        "5 to 9",
        "10 to 14",
    ]
