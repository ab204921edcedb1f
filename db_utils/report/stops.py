"""The page's sections on downtime by cause, location and type, and on trends."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from db_utils.report.charts import stops as charts
from db_utils.report.charts.style import short
from db_utils.report.data import ReportData
from db_utils.report.sections import NOTHING, Section, figure_table, local, number
from db_utils.values import Row

MAX_CAUSES = 12
"""Maximum number of causes drawn; the others are combined."""
MAX_TOLD = 4
"""Maximum number of forecast series drawn against the actual demand."""


def _minutes(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, float]:
    found: dict[Any, float] = defaultdict(float)
    for row in rows:
        found[key(row)] += float(row["minutes"])
    return found


def _cause(row: Row) -> tuple[str, str]:
    return row["event_type"], row["cause"] or "no cause given"


def with_stops(sections: list[Section], data: ReportData) -> list[Section]:
    """Return the page's sections including those of this module, each after the one that it explains."""
    behind = {"alerts": downtime_section, "oee": trend_section, "demand": forecast_section}
    found = []
    for section in sections:
        found.append(section)
        if section.id in behind:
            found.append(behind[section.id](data))
    return found


def downtime_section(data: ReportData) -> Section:
    """Return downtime as a Pareto of causes, and by location, type and resource."""
    question = "Where was time lost?"
    now, before = _minutes(data.stops, _cause), _minutes(data.stops_before, _cause)
    total, total_before = sum(now.values()), sum(before.values())
    if not total:
        return Section(
            "downtime",
            question,
            "No resource was down",
            reason="The period has no stop with a duration.",
        )
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for row in data.stops:
        counts[_cause(row)] += row["event_count"]
    causes = [
        charts.Cause(kind, f"{cause} ({kind})", minutes, before.get((kind, cause), 0.0), counts[kind, cause])
        for (kind, cause), minutes in sorted(now.items(), key=lambda item: (-item[1], item[0]))
    ]
    drawn = causes[:MAX_CAUSES]
    if rest := causes[MAX_CAUSES:]:
        drawn.append(
            charts.Cause(
                "",
                f"{len(rest)} other causes",
                sum(one.minutes for one in rest),
                sum(one.minutes_before for one in rest),
                sum(one.event_count for one in rest),
            )
        )
    first = causes[0]
    title = f"Most time was lost to {short(first.cause, 60)}: {first.minutes / 60:,.0f} h, {100 * first.minutes / total:.0f} % of all"
    caption = (
        "Hours of stops by cause, most first; a mark shows the hours in the equally long period before, "
        + (
            f"in which {_change(total, total_before)} was lost in all."
            if total_before
            else "for which nothing is recorded."
        )
    )
    tables = [
        figure_table(
            "Time lost by cause (hours)",
            ("Cause", "Kind", "Stops", "Hours", "Share (%)", "Before", "Change (%)"),
            (
                (one.cause.rpartition(" (")[0], one.event_type, f"{one.event_count:,}", number(one.minutes / 60),
                 number(100 * one.minutes / total), number(one.minutes_before / 60), _percent(one.minutes, one.minutes_before))
                for one in causes
            ),
            "ttnnnnn",
        )
    ]  # fmt: skip
    for caption_of, name, key in (
        ("Time lost by location (hours)", "Location", lambda row: row["location_name"] or NOTHING),
        ("Time lost by kind of resource (hours)", "Kind of resource", lambda row: row["resource_type"]),
        ("Time lost by resource, most first (hours)", "Resource", lambda row: row["resource_name"]),
    ):
        here, there = _minutes(data.stops, key), _minutes(data.stops_before, key)
        tables.append(
            figure_table(
                caption_of,
                (name, "Hours", "Share (%)", "Before", "Change (%)"),
                (
                    (called, number(minutes / 60), number(100 * minutes / total), number(there.get(called, 0.0) / 60),
                     _percent(minutes, there.get(called, 0.0)))
                    for called, minutes in sorted(here.items(), key=lambda item: (-item[1], item[0]))
                ),
                "tnnnn",
            )
        )  # fmt: skip
    return Section("downtime", question, title, charts.pareto(drawn, total), caption, tuple(tables))


def _change(now: float, before: float) -> str:
    """What was lost before, measured by what is lost now."""
    share = 100 * (before - now) / now
    return "as much" if abs(share) < 0.5 else f"{abs(share):.0f} % {'less' if share < 0 else 'more'}"


def _percent(now: float, before: float) -> str:
    return NOTHING if not before else f"{100 * (now - before) / before:+.0f}"


def trend_section(data: ReportData) -> Section:
    """Return how OEE and availability developed, by day or by week."""
    question = "Is it improving?"
    values: dict[str, dict[Any, float]] = {"oee": {}, "availability": {}}
    for row in data.trend:
        if row["kpi"] in values:
            values[row["kpi"]][row["period_start"]] = (
                math.nan if row["value"] is None else float(row["value"])
            )
    known = {
        name: by_day
        for name, by_day in values.items()
        if sum(not math.isnan(value) for value in by_day.values()) > 1
    }
    if not known:
        return Section(
            "trend",
            question,
            "The trend is not known",
            reason="OEE and availability are known for fewer than two days.",
        )
    buckets = sorted({bucket for by_day in known.values() for bucket in by_day})
    called = {"oee": "OEE", "availability": "availability"}
    lines = {
        called[name]: [by_day.get(bucket, math.nan) for bucket in buckets] for name, by_day in known.items()
    }
    name, line = next(iter(lines.items()))
    told = [(value, bucket) for value, bucket in zip(line, buckets, strict=True) if not math.isnan(value)]
    worst, when = min(told)
    where = "on" if data.trend_bucket == "day" else "in the week of"
    title = f"{name[0].upper()}{name[1:]} was lowest {where} {local(when, data)[:10]}: {worst:.1f} %"
    table = figure_table(
        f"By local {data.trend_bucket} (%)",
        (f"{data.trend_bucket.capitalize()} from", *lines),
        (
            (
                local(bucket, data)[:10],
                *(number(None if math.isnan(line[at]) else line[at]) for line in lines.values()),
            )
            for at, bucket in enumerate(buckets)
        ),
        "tnn",
    )
    return Section(
        "trend",
        question,
        title,
        charts.trend(buckets, lines, data.trend_bucket, data.period.zone),
        f"Of all resources, by local {data.trend_bucket} of the organization.",
        (table,),
    )


def forecast_section(data: ReportData) -> Section:
    """Return the forecasts compared with the outcomes."""
    question = "Were the forecasts right?"
    newest: dict[tuple[Any, ...], Row] = {}
    for row in data.outcomes:
        if row["is_over"] and row["purpose"] == "published" and row["actual_quantity"] is not None:
            key = (row["product_id"], row["location_id"], row["target_interval"], row["target_time"])
            if key not in newest or newest[key]["available_at"] < row["available_at"]:
                newest[key] = row
    if not newest:
        return Section(
            "forecasts",
            question,
            "Forecasts cannot be judged yet",
            reason="No forecast of the period has an outcome.",
        )
    series: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for key in sorted(newest, key=lambda key: key[3]):
        series[key[:3]].append(newest[key])

    def off(rows: list[Row]) -> float:
        return sum(abs(float(row["actual_quantity"] - row["predicted_quantity"])) for row in rows)

    def called(key: tuple[Any, ...]) -> str:
        unit = data.units.get(key[0])
        return f"{key[0]} · {data.location_names.get(key[1], NOTHING)}{f' ({unit})' if unit else ''}"

    ordered = sorted(series, key=lambda key: (-off(series[key]), called(key)))
    worst = ordered[0]
    asked = sum(float(row["actual_quantity"]) for row in series[worst])
    table = figure_table(
        "Last forecast before each target, and outcome, largest error first",
        ("Product and place", "Targets", "Forecast", "Happened", "Off by", "Off by (%)"),
        (
            (called(key), str(len(rows)), number(sum(float(r["predicted_quantity"]) for r in rows)),
             number(sum(float(r["actual_quantity"]) for r in rows)), number(off(rows)),
             number(100 * off(rows) / total if (total := sum(float(r["actual_quantity"]) for r in rows)) else None))
            for key in ordered
            for rows in [series[key]]
        ),
        "tnnnnn",
    )  # fmt: skip
    shown = [
        charts.Told(
            called(key),
            [row["target_time"] for row in series[key]],
            [float(row["predicted_quantity"]) for row in series[key]],
            [float(row["actual_quantity"]) for row in series[key]],
        )
        for key in ordered[:MAX_TOLD]
    ]
    title = f"{short(called(worst), 60)} had the largest error" + (
        f": {100 * off(series[worst]) / asked:.0f} %" if asked else ""
    )
    caption = "The newest forecast that was known before each target began, against what was recorded."
    if len(ordered) > MAX_TOLD:
        caption += f" The {MAX_TOLD} of {len(ordered)} with the largest errors are drawn."
    return Section("forecasts", question, title, charts.outcomes(shown, data.period.zone), caption, (table,))
