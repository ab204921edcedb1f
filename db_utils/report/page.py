"""The page: one self-contained HTML document."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from db_utils.report.charts.style import label
from db_utils.report.data import ReportData
from db_utils.report.forecasting import model_sections
from db_utils.report.proposed import proposed_sections
from db_utils.report.sections import extent_of, local, number, sections
from db_utils.report.stops import with_stops
from db_utils.values import Row

NAMES = {
    "availability": "Availability",
    "effectiveness": "Effectiveness",
    "quality_ratio": "Quality ratio",
    "oee": "OEE",
    "utilisation_efficiency": "Utilisation efficiency",
    "throughput_rate": "Throughput rate",
    "scrap_ratio": "Scrap ratio",
    "mtbf": "MTBF",
    "mttr": "MTTR",
    "plan_attainment": "Plan attainment",
    "attendance_rate": "Attendance rate",
    "forecast_wape": "Forecast error (WAPE)",
}
_FIRST = ("oee", "availability", "effectiveness", "quality_ratio")


def page(data: ReportData) -> str:
    """Return the report as one HTML document; the same data give the same text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = label
    files = resources.files(__package__)
    template = environment.from_string(files.joinpath("page.html").read_text(encoding="utf-8"))
    tiles = sorted(
        data.kpis, key=lambda row: _FIRST.index(row["kpi"]) if row["kpi"] in _FIRST else len(_FIRST)
    )
    before = {row["kpi"]: row["value"] for row in data.kpis_before}
    return template.render(
        organization=data.organization,
        period=_period(data),
        zone=data.period.zone.key,
        read_at=local(data.read_at, data),
        tiles=[_tile(row, before.get(row["kpi"])) for row in tiles],
        sections=[]
        if data.is_empty
        else [*with_stops(sections(data), data), *model_sections(data), *proposed_sections(data)],
        is_empty=data.is_empty,
        empty_because=extent_of(data),
        has_data_elsewhere=data.oldest is not None,
        # The project's own file, not a user's text.
        style=Markup(files.joinpath("page.css").read_text(encoding="utf-8")),
        data_url=_data_url,
    )


def _period(data: ReportData) -> str:
    first, last = (instant.astimezone(data.period.zone) for instant in (data.period.start, data.period.end))
    midnight = dt.time(0)
    if first.time() == last.time() == midnight:
        return f"{first:%-d %B %Y} to {data.period.last_day:%-d %B %Y}"
    return f"{first:%-d %B %Y, %H:%M} to {last:%-d %B %Y, %H:%M}"


def _since_before(difference: float) -> str:
    shown = f"{difference:+,.1f}"
    return (
        "as in the period before"
        if float(shown.replace(",", "")) == 0
        else f"{shown} since the period before"
    )


def _tile(row: Row, before: Any) -> dict[str, Any]:
    known = row["value"] is not None and before is not None
    return {
        "before": _since_before(float(row["value"]) - float(before)) if known else None,
        "name": NAMES.get(row["kpi"], row["kpi"]),
        "value": None if row["value"] is None else number(row["value"]),
        "unit": row["unit"],
        "reason": row["reason"],
        "made_of": _made_of(row),
        "coverage": None if row["coverage_pct"] is None else f"{row['coverage_pct']:.0f}",
    }


def _made_of(row: Row) -> str:
    """Return the inputs of a KPI as text: "90 of 120 min", "300 pieces / 5 h"."""
    above, below = number(row["numerator"], 0), number(row["denominator"], 0)
    # "quantity" stands for an unknown unit.
    units = [
        "" if unit == "quantity" else f" {unit or ''}"
        for unit in (row["numerator_unit"], row["denominator_unit"])
    ]
    return (
        f"{above} of {below}{units[1]}" if units[0] == units[1] else f"{above}{units[0]} / {below}{units[1]}"
    )


def _data_url(svg: str) -> str:
    """Return a drawing as a data URL: a separate document, so that ids and styles do not clash.

    Blanks and commas are escaped too, because they end a srcset.
    """
    return "data:image/svg+xml," + quote(svg, safe="/:;=()-.!*'@$?+~_")
