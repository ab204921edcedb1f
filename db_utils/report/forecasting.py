"""The page's section on models: which one forecasts, its skill over naive, and since when."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from db_utils.report.charts import demand as charts
from db_utils.report.data import ReportData
from db_utils.report.sections import MAX_BARS, NOTHING, FigureTable, Section, local, number
from db_utils.values import Row

MEANT_PCT = 90
"""Nominal coverage of an interval."""


def model_sections(data: ReportData) -> list[Section]:
    """Return the section on the model that forecasts demand and its accuracy; empty if none has ever run."""
    champions = [row for row in data.models if row["role"] == "champion"]
    if not champions:
        return []
    # A champion's whole horizon is the longest span of steps that begins with the first.
    whole: dict[tuple[str, str], Row] = {}
    for row in data.backtests:
        if row["first_step"] == 1:
            whole[row["model_name"], row["model_version"]] = row
    versions = {(row["model_name"], row["model_version"]) for row in champions}
    of_series = [
        row for row in data.series_backtests if (row["model_name"], row["model_version"]) in versions
    ]
    steps = [row for row in data.backtests if (row["model_name"], row["model_version"]) in versions]
    tables = (
        _changes(data, whole),
        _by_step(steps, data),
        _by_series(of_series, data),
    )
    newest = max(champions, key=lambda row: row["role_since"])
    targets = {
        (row["model_name"], row["model_version"]): row["config"].get("target", "") for row in data.models
    }
    # Of several targets the nearest is drawn; the tables show all.
    main = max(
        (row for key, row in whole.items() if key in versions),
        key=lambda row: (row["as_of"], -row["target_interval"], -row["last_step"]),
        default=None,
    )
    caption = (
        f"The champion changed last on {local(newest['role_since'], data)}: {newest['model_name']} "
        f"{newest['model_version']}, {newest['role_reason'] or 'no reason given'}."
    )
    question = "Which model forecasts, and is it better than naive?"
    if main is None or main["skill_pct"] is None:
        return [
            Section(
                "models", question, f"{newest['model_name']} forecasts; its accuracy is not known yet",
                reason=f"No target of its backtest has an outcome. {caption}",
                tables=tuple(table for table in tables if table.rows),
            )
        ]  # fmt: skip
    champion = main["model_name"], main["model_version"]
    worse = "better" if main["skill_pct"] >= 0 else "worse"
    title = (
        f"{main['model_name']} is {number(abs(main['skill_pct']))} % {worse} than {main['naive_name']}; "
        f"its {MEANT_PCT} % interval covered {number(main['interval_coverage_pct'])} %"
    )
    known = [
        row
        for row in of_series
        if (row["model_name"], row["model_version"]) == champion and row["wape_pct"] is not None
    ]
    shown = sorted(known, key=lambda row: (-row["target_count"], row["product_id"]))[:MAX_BARS]
    there = tuple(table for table in tables if table.rows)
    if not shown:
        return [Section("models", question, title, tables=there, reason=caption)]
    more = f" {len(shown)} of {len(known)} series are drawn." if len(known) > len(shown) else ""
    caption = (
        f"Error of each series at past origins (WAPE), {targets[champion]} ahead: the champion's and the better of the two "
        f"naive forecasts', on the same targets. Where the naive one is not worse, it is published instead. {caption}{more}"
    )
    names = [f"{row['product_id']} · {_place(row['location_id'], data)}" for row in shown]
    drawing = charts.skill(list(zip(names, shown, strict=True)))
    return [Section("models", question, title, drawing, caption, there)]


def _place(location_id: uuid.UUID | None, data: ReportData) -> str:
    return NOTHING if location_id is None else data.location_names.get(location_id, NOTHING)


def _span(interval: dt.timedelta) -> str:
    hours = interval / dt.timedelta(hours=1)
    return f"{hours / 24:g} d" if hours >= 24 else f"{hours:g} h"


def _figures(row: Row) -> tuple[str, ...]:
    names = ("wape_pct", "naive_wape_pct", "skill_pct", "interval_coverage_pct")
    return tuple(number(row.get(name)) for name in names)


_HEADS = ("WAPE (%)", "Naive (%)", "Skill (%)", "In interval (%)")


def _changes(data: ReportData, whole: dict[tuple[str, str], Row]) -> FigureTable:
    """Return every model with its role, the newest change first."""
    rows = []
    for model in sorted(data.models, key=lambda row: row["role_since"], reverse=True):
        found: dict[str, Any] = whole.get((model["model_name"], model["model_version"]), {})
        rows.append(
            (
                f"{model['model_name']} {model['model_version']}", model["config"].get("target") or NOTHING, model["role"],
                local(model["role_since"], data), model["role_reason"] or NOTHING, *_figures(found),
                str(found.get("origin_count", NOTHING)),
            )
        )  # fmt: skip
    heads = ("Model", "Target", "Role", "Since", "Why", *_HEADS, "Origins")
    return FigureTable("Models, the newest change first", heads, rows, frozenset(range(5, 10)))


def _by_step(backtests: list[Row], data: ReportData) -> FigureTable:
    rows = [
        (
            f"{row['model_name']} {row['model_version']}", _span(row["target_interval"]),
            f"{row['first_step']} to {row['last_step']}", row["naive_name"], *_figures(row), local(row["as_of"], data),
        )
        for row in backtests
    ]  # fmt: skip
    heads = ("Champion", "Target", "Targets ahead", "Better naive", *_HEADS, "Backtest as of")
    return FigureTable("Accuracy by lead time", heads, rows, frozenset(range(4, 8)))


def _by_series(backtests: list[Row], data: ReportData) -> FigureTable:
    rows = [
        (
            row["product_id"], _place(row["location_id"], data), _span(row["target_interval"]),
            row["model_name"] if row["reason"] is None else row["naive_name"], *_figures(row), row["reason"] or "",
        )
        for row in backtests
    ]  # fmt: skip
    heads = ("Product", "Location", "Target", "Published", *_HEADS, "Why not the champion")
    caption = "Each series: the champion's figures, and what is published"
    return FigureTable(caption, heads, rows, frozenset(range(4, 8)))
