"""The page's sections: a finding, a chart and its figures as tables, or the reason why there are none."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from db_utils.report.charts import demand as demand_pictures
from db_utils.report.charts import people, resources, signals
from db_utils.report.charts.style import Picture, short
from db_utils.report.data import MAX_PRODUCTS, DemandSeries, ReportData, labels
from db_utils.values import Row

NOTHING = "\N{EN DASH}"
MAX_BARS = 18
"""Maximum number of resources, people or predictions drawn; the tables show all."""
MAX_PANELS = 12
"""Maximum number of demand series drawn, each one product at one location."""
MAX_ROWS = 1_000
"""Maximum number of rows in a table: with thousands of machines the page would be too large for a phone."""
MAX_SERIES = 30
"""Maximum number of series drawn in the chart of coverage."""

Cell = str


@dataclass(frozen=True)
class FigureTable:
    """The exact figures, also for readers who cannot see the chart; `numeric` columns are right-aligned."""

    caption: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    numeric: frozenset[int]


@dataclass(frozen=True)
class Section:
    """One part of the page. `title` is the finding; without a chart or table, `reason` says why."""

    id: str
    question: str
    title: str
    picture: Picture | None = None
    caption: str = ""
    tables: tuple[FigureTable, ...] = ()
    reason: str | None = None
    is_open: bool = False
    """Whether its tables are expanded instead of folded under "The figures"."""


def sections(data: ReportData) -> list[Section]:
    """Return the sections of this module, in order."""
    makers: tuple[Callable[[ReportData], Section], ...] = (
        _alerts, _oee, _utilization, _demand, _plans, _attendance, _anomalies, _coverage,
    )  # fmt: skip
    return [make(data) for make in makers]


def number(value: Any, digits: int = 1) -> str:
    """Format a figure with thousands separators and `digits` decimals; a dash for None."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def local(instant: dt.datetime | None, data: ReportData) -> str:
    """Format an instant in the organization's time zone, to the minute."""
    return NOTHING if instant is None else instant.astimezone(data.period.zone).strftime("%Y-%m-%d %H:%M")


def figure_table(
    caption: str, columns: Iterable[str], rows: Iterable[tuple[Cell, ...]], numeric: str = ""
) -> FigureTable:
    """Make a table; `numeric` has one letter per column: n for numeric ones."""
    cells = list(rows)
    if len(cells) > MAX_ROWS:
        caption += f"; the first {MAX_ROWS:,} of {len(cells):,}, all are in db-utils export"
    columns_of_numbers = frozenset(i for i, letter in enumerate(numeric) if letter == "n")
    return FigureTable(caption, tuple(columns), cells[:MAX_ROWS], columns_of_numbers)


_table = figure_table


def _drawn(what: str, drawn: int, there: int, order: str) -> str:
    return f" The {drawn} {order} of {there} {what} are drawn." if there > drawn else ""


# -- alerts -----------------------------------------------------------------------------------------------------


def _alerts(data: ReportData) -> Section:
    question = "What needs attention now?"
    if not data.alerts:
        return Section(
            "alerts", question, "No alert is open", reason="No alert was raised, or all were resolved."
        )
    worst = data.alerts[0]
    count = len(data.alerts)
    table = _table(
        f"Open alerts, most severe first, as of {local(data.read_at, data)}",
        ("Severity", "Alert", "Raised", "Status", "About"),
        (
            (
                a["severity"],
                a["title"],
                local(a["created_at"], data),
                a["status"],
                a["resource_name"] or NOTHING,
            )
            for a in data.alerts
        ),
    )
    title = f"{count} alert{'s are' if count > 1 else ' is'} open, the most severe is {worst['severity']}"
    return Section("alerts", question, title, tables=(table,), is_open=True)


# -- resources --------------------------------------------------------------------------------------------------


def losses_of(name: str, kpis: dict[str, Row]) -> resources.Losses:
    """Return where this resource's planned time went."""
    oee, speed, available = kpis["oee"], kpis["effectiveness"], kpis["availability"]
    # Without production there is no effectiveness, but the planned time is lost anyway.
    reason = oee["reason"] or available["reason"]
    if reason is not None:
        return resources.Losses(name, reason)
    planned, production = float(available["denominator"]), float(available["numerator"] or 0)
    rated, good = float(speed["numerator"] or 0), float(oee["numerator"] or 0)
    return resources.Losses(name, None, planned, good, planned - production, production - rated, rated - good)


def _oee(data: ReportData) -> Section:
    question = "Where did planned time go?"
    if not data.resource_kpis:
        return Section("oee", question, "OEE is not known", reason="The organization has no resource.")
    losses = [losses_of(name, kpis) for name, kpis in data.resource_kpis.items()]
    known = sorted(
        (one for one in losses if one.reason is None), key=lambda one: (one.good - one.planned, one.name)
    )
    unknown = [one for one in losses if one.reason is not None]
    table = _table(
        "Planned busy time and where it went, by resource (minutes); a loss below 0 is a gain",
        ("Resource", "Planned", "Good time", "Quality loss", "Effectiveness loss", "Availability loss", "OEE (%)",
         "Why not"),
        (
            (one.name, number(one.planned, 0), number(one.good, 0), number(one.quality_loss, 0),
             number(one.effectiveness_loss, 0), number(one.availability_loss, 0), number(one.oee), "")
            if one.reason is None
            else (one.name, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, one.reason)
            for one in [*known, *unknown]
        ),
        "tnnnnnnt",
    )  # fmt: skip
    if not known:
        reasons = "; ".join(sorted({str(one.reason) for one in unknown}))
        return Section("oee", question, "OEE is not known", reason=f"{reasons}.", tables=(table,))
    worst = known[0]
    kinds = {
        "stops (availability)": worst.availability_loss,
        "running slower than rated (effectiveness)": worst.effectiveness_loss,
        "scrap (quality)": worst.quality_loss,
    }
    main = max(kinds, key=lambda kind: kinds[kind])
    lost = worst.planned - worst.good
    title = (
        f"{short(worst.name, 60)} lost the most, {lost / 60:,.0f} h of planned time (OEE {worst.oee:.1f} %)"
    )
    if kinds[main] > 0:
        title += f", most of it to {main}"
    shown = [*known, *unknown][:MAX_BARS]
    caption = (
        "Planned busy time = good time + quality loss + effectiveness loss + availability loss (ISO 22400-2). "
        "A bar beyond 100 % is work outside the planned shifts or faster than rated."
        + _drawn("resources", len(shown), len(losses), "most costly")
    )
    return Section("oee", question, title, resources.oee(shown), caption, (_oee_by_kind(known, data), table))


def _oee_by_kind(known: list[resources.Losses], data: ReportData) -> FigureTable:
    """Return the same minutes by type of resource."""
    kinds: dict[str, list[resources.Losses]] = {}
    for one in known:
        kinds.setdefault(data.resource_types.get(one.name, NOTHING), []).append(one)
    sums = [
        (kind, len(of), sum(o.planned for o in of), sum(o.good for o in of)) for kind, of in kinds.items()
    ]
    return _table(
        "By kind of resource, most lost first (minutes)",
        ("Kind", "Resources", "Planned", "Good time", "Lost", "OEE (%)"),
        (
            (
                kind,
                f"{count:,}",
                number(planned, 0),
                number(good, 0),
                number(planned - good, 0),
                number(100 * good / planned),
            )
            for kind, count, planned, good in sorted(sums, key=lambda s: (s[3] - s[2], s[0]))
        ),
        "tnnnnn",
    )


def _utilization(data: ReportData) -> Section:
    question = "When are resources busy?"
    names = labels((row["resource_id"], row["resource_name"]) for row in data.utilization)
    by_resource: dict[str, dict[int, float]] = {}
    minutes: dict[str, float] = {}
    for row in data.utilization:
        if row["utilization_pct"] is not None:
            called = names[row["resource_id"]]
            by_resource.setdefault(called, {})[row["hour"]] = float(row["utilization_pct"])
            minutes[called] = minutes.get(called, 0) + float(row["measured_minutes"])
    if not by_resource:
        return Section(
            "utilization",
            question,
            "Utilization is not known",
            reason="No utilization was measured in the period.",
        )
    cells = [
        (float(r["utilization_pct"]), names[r["resource_id"]], r["hour"])
        for r in data.utilization
        if r["utilization_pct"] is not None
    ]
    most, name, hour = max(cells)
    table = _table(
        "Mean utilization by local hour of the resource's location (%)",
        ("Resource", *(f"{h:02d}" for h in range(24)), "Hours measured"),
        (
            (one, *(number(hours.get(h), 0) for h in range(24)), number(minutes[one] / 60, 0))
            for one, hours in by_resource.items()
        ),
        "t" + "n" * 25,
    )
    caption = "Mean over the minutes measured in the period, by hour of the day."
    shown = list(by_resource.items())
    if len(by_resource) > MAX_BARS:
        shown = _by_kind(data)[:MAX_BARS]
        caption += f" The {len(by_resource):,} resources are drawn by kind."
    return Section(
        "utilization",
        question,
        f"{short(name, 60)} is busiest from {hour:02d}:00 to {(hour + 1) % 24:02d}:00: {most:.0f} %",
        resources.utilization(shown),
        caption,
        (table,),
    )


def _by_kind(data: ReportData) -> list[tuple[str, dict[int, float]]]:
    """Return mean utilization by type of resource and local hour, weighted by the minutes measured."""
    sums: dict[str, dict[int, tuple[float, float]]] = {}
    members: dict[str, set[Any]] = {}
    for row in data.utilization:
        if row["utilization_pct"] is not None:
            minutes = float(row["measured_minutes"])
            hours = sums.setdefault(row["resource_type"], {})
            weighted, weight = hours.get(row["hour"], (0.0, 0.0))
            hours[row["hour"]] = (weighted + float(row["utilization_pct"]) * minutes, weight + minutes)
            members.setdefault(row["resource_type"], set()).add(row["resource_id"])
    return [
        (f"{kind} ({len(members[kind]):,})", {hour: w / m for hour, (w, m) in hours.items() if m})
        for kind, hours in sorted(sums.items(), key=lambda item: (-len(members[item[0]]), item[0]))
    ]


# -- demand -----------------------------------------------------------------------------------------------------


def _demand(data: ReportData) -> Section:
    question = "How much demand was there, and how much is expected?"
    drawn = [s for s in data.demand if s.forecasts or any(row["is_observed"] for row in s.history)]
    if not drawn:
        return Section(
            "demand",
            question,
            "Demand is not known",
            reason="There was no demand and no forecast in the period.",
        )
    wape = next(row for row in data.kpis if row["kpi"] == "forecast_wape")
    accurate = wape["value"] is not None
    title = f"Forecasts were off by {wape['value']:.1f} % of demand (WAPE)" if accurate else _peak(drawn)
    history = _table(
        f"Demand by local {drawn[0].bucket} (in the product's own unit)",
        ("Product", "Location", f"{drawn[0].bucket.capitalize()} from", "Quantity", "Unit"),
        (
            (s.product_id, s.location_name, s.day(row).isoformat(), number(row["quantity"]),
             data.units.get(s.product_id, NOTHING))
            for s in drawn
            for row in s.history
        ),
        "tttnt",
    )  # fmt: skip
    expected = _table(
        "Current forecasts",
        ("Product", "Location", "Target from", "Expected", "Lower", "Upper", "Model", "Known since"),
        (
            (s.product_id, s.location_name, local(f["target_time"], data), number(f["predicted_quantity"]),
             number(f["lower_bound"]), number(f["upper_bound"]), f"{f['model_name']} {f['model_version']}",
             local(f["available_at"], data))
            for s in drawn
            for f in s.forecasts
        ),
        "tttnnntt",
    )  # fmt: skip
    accuracy = _table(
        "Forecast accuracy by lead time: predictions made in advance, and outcomes",
        ("Model", "Lead time (days)", "Targets", "WAPE (%)", "Inside the interval (%)"),
        (
            (f"{row['model_name']} {row['model_version']}", str(row["lead_time_days"]), str(row["target_count"]),
             number(row["wape_pct"]), number(row["interval_coverage_pct"]))
            for row in data.accuracy
        ),
        "tnnnn",
    )  # fmt: skip
    caption = f"Demand by local {drawn[0].bucket}."
    if any(s.forecasts for s in drawn):
        caption += (
            " After it the newest forecast of each target, with its interval where the model gives one."
        )
    if wape["reason"] is not None:
        caption += f" Forecast accuracy: {wape['reason']}."
    if data.product_count > MAX_PRODUCTS:
        caption += (
            f" The {MAX_PRODUCTS} largest of {data.product_count} products are shown, here and in the tables."
        )
    panels = drawn[:MAX_PANELS]
    caption += _drawn("products at a location", len(panels), len(drawn), "first")
    tables = tuple(table for table in (accuracy, expected, history) if table.rows)
    return Section("demand", question, title, demand_pictures.demand(panels, data.period), caption, tables)


def _peak(drawn: list[DemandSeries]) -> str:
    """Return when the demand for one product at one location was highest."""
    observed = [(row["quantity"], s, s.day(row)) for s in drawn for row in s.history if row["is_observed"]]
    if not observed:
        return "There was no demand in the period, only forecasts"
    most, series, day = max(observed, key=lambda one: one[0])
    when = "on " if series.bucket == "day" else "in the week of "
    return f"Demand of {short(series.product_id, 60)} peaked at {number(most)} {when}{day:%-d %B %Y}"


# -- plans and people -------------------------------------------------------------------------------------------


def _plans(data: ReportData) -> Section:
    question = "Was the plan met?"
    by_location = {
        name: [row for row in rows if row["efficiency_pct"] is not None] for name, rows in data.plans.items()
    }
    by_location = {name: rows for name, rows in by_location.items() if rows}
    if not by_location:
        return Section(
            "plans", question, "Plan attainment is not known", reason="No plan was completed in the period."
        )
    low = len(
        {
            row["plan_date"]
            for rows in by_location.values()
            for row in rows
            if row["efficiency_pct"] < people.LOW_PCT
        }
    )
    table = _table(
        "Completed plans by location and local day",
        ("Location", "Day", "Plans", "Planned", "Made", "Produced of planned (%)"),
        (
            (name, row["plan_date"].isoformat(), str(row["plan_count"]), number(row["planned_quantity"], 0),
             number(row["actual_quantity"], 0), number(100 * row["actual_quantity"] / row["planned_quantity"]))
            for name, rows in by_location.items()
            for row in rows
        ),
        "ttnnnn",
    )  # fmt: skip
    days = "day was" if low == 1 else "days were"
    somewhere = " at a location" if len(by_location) > 1 else ""
    title = f"{low} {days} below {people.LOW_PCT:.0f} %{somewhere}"
    attainment = next(row for row in data.kpis if row["kpi"] == "plan_attainment")
    if attainment["value"] is not None:
        title = f"{attainment['value']:.1f} % of completed plans was produced; {title}"
    shown = dict(list(by_location.items())[:MAX_PRODUCTS])
    caption = "Completed plans only; quantity produced of quantity planned, by local day." + _drawn(
        "locations", len(shown), len(by_location), "first"
    )
    return Section("plans", question, title, people.plans(shown, data.period), caption, (table,))


def _attendance(data: ReportData) -> Section:
    question = "Are people there when needed?"
    if not data.attendance or not data.attendance_days:
        return Section(
            "attendance",
            question,
            "Attendance is not known",
            reason="No attendance was recorded in the period.",
        )
    low = [one for one in data.attendance if one.rate < people.LOW_PCT]
    if low:
        verb = "attends" if len(low) == 1 else "attend"
        title = f"{len(low)} of {len(data.attendance)} employees {verb} less than {people.LOW_PCT:.0f} % of scheduled work"
    else:
        title = f"Every employee attends {people.LOW_PCT:.0f} % of scheduled work or more"
    by_employee = _table(
        "Attendance by employee, lowest first; vacation does not count",
        ("Employee", "Attended", "Scheduled", "Rate (%)"),
        (
            (a.full_name, str(a.attended_count), str(a.scheduled_count), number(a.rate))
            for a in data.attendance
        ),
        "tnnn",
    )
    by_day = _table(
        "Attendance by local day",
        ("Day", "Attended", "Scheduled", "Rate (%)"),
        (
            (row["day"].isoformat(), str(row["attended_count"]), str(row["scheduled_count"]),
             number(100 * row["attended_count"] / row["scheduled_count"]))
            for row in data.attendance_days
        ),
        "tnnn",
    )  # fmt: skip
    shown = data.attendance[:MAX_BARS]
    caption = "Present, late or remote, of scheduled shifts." + _drawn(
        "employees", len(shown), len(data.attendance), "lowest"
    )
    picture = people.attendance(shown, data.attendance_days, data.period)
    return Section("attendance", question, title, picture, caption, (by_employee, by_day))


# -- predictions and data ---------------------------------------------------------------------------------------


def _anomalies(data: ReportData) -> Section:
    question = "What was predicted to go wrong, and did it?"
    if not data.anomalies:
        return Section(
            "anomalies",
            question,
            "No anomaly was predicted",
            reason="There is no prediction for the period or later.",
        )
    shown = data.anomalies[-MAX_BARS:]
    ahead = [row for row in data.anomalies if row["outcome"] is None]
    confirmed = sum(row["outcome"] == "confirmed" for row in data.anomalies)
    false = sum(row["outcome"] == "false_alarm" for row in data.anomalies)
    table = _table(
        "Predicted anomalies (local time)",
        ("Resource", "Kind", "Severity", "Probability", "Known since", "Predicted for", "Happened", "Outcome"),
        (
            (row["resource_name"], row["anomaly_type"], row["severity"], f"{100 * row['probability']:.0f} %",
             local(row["available_at"], data), local(row["predicted_for"], data), local(row["occurred_at"], data),
             signals.OUTCOMES[row["outcome"]])
            for row in data.anomalies
        ),
        "tttn",
    )  # fmt: skip
    alarms = "false alarm" if false == 1 else "false alarms"
    return Section(
        "anomalies",
        question,
        f"{len(ahead)} predicted and open, {confirmed} confirmed, {false} {alarms}",
        signals.anomalies(shown, data.period, data.read_at),
        "Each line goes from when the prediction was first known to the time that it was made for; the dotted line is when "
        "the data were read." + _drawn("predictions", len(shown), len(data.anomalies), "latest"),
        (table,),
    )


def _coverage(data: ReportData) -> Section:
    question = "Which data are these figures based on?"
    names: dict[tuple[str, str], str] = {}
    for kind in dict.fromkeys(row["kind"] for row in data.coverage):
        names |= labels(((kind, row["series"]), row["name"]) for row in data.coverage if row["kind"] == kind)
    keys = [(row["kind"], names[row["kind"], row["series"]]) for row in data.coverage]
    series = {key: set(row["days"]) for key, row in zip(keys, data.coverage, strict=True)}
    counts = {key: row["row_count"] for key, row in zip(keys, data.coverage, strict=True)}
    if not series:
        return Section("coverage", question, "There are no data in the period", reason=extent_of(data))
    total = data.period.days
    gaps = sum(len(days) < total for days in series.values())
    table = _table(
        f"Days with data, of {total} local days",
        ("Kind", "Series", "Rows", "Days with data", "Days without", "First", "Last"),
        (
            (kind, name, f"{counts[kind, name]:,}", str(len(days)), str(max(total - len(days), 0)),
             min(days).isoformat(), max(days).isoformat())
            for (kind, name), days in series.items()
        ),
        "ttnnn",
    )  # fmt: skip
    emptiest = sorted(series, key=lambda key: len(series[key]))[:MAX_SERIES]
    shown = [(kind, name, days) for (kind, name), days in series.items() if (kind, name) in emptiest]
    title = (
        f"{gaps} of {len(series)} series lack data on some day"
        if gaps
        else "Every series has data on every day"
    )
    caption = "A mark for each local day with at least one row." + _drawn(
        "series", len(shown), len(series), "emptiest"
    )
    return Section("coverage", question, title, signals.coverage(shown, data.period), caption, (table,))


def extent_of(data: ReportData) -> str:
    """Return which period has data, if not this one."""
    if data.oldest is None or data.newest is None:
        return "Nothing was recorded for this organization yet."
    first, last = local(data.oldest, data)[:10], local(data.newest, data)[:10]
    return f"It has data from {first} to {last}: choose a period there with --start and --end."
