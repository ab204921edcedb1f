"""Charts of predicted anomalies on a time line, and of data coverage."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from db_utils.report.charts.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Picture,
    Width,
    figure,
    legend,
    picture,
    short,
    time_axis,
    wrapped,
)
from db_utils.report.data import Period
from db_utils.values import Row

SEVERITIES = {"critical": ("D", "#8b0036"), "high": ("^", RED), "medium": ("s", ORANGE), "low": ("o", SKY)}
OUTCOMES = {
    "confirmed": "confirmed",
    "false_alarm": "false alarm",
    "unknown": "outcome unknown",
    None: "open",
}
KINDS = {"events": BLUE, "metrics": ORANGE, "demand": GREEN, "attendance": PURPLE}


def anomalies(rows: list[Row], period: Period, read_at: dt.datetime) -> Picture:
    """Draw predicted anomalies with their lead time and outcome."""

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 1.05 + 0.37 * len(rows))
        first = min(min(row["available_at"] for row in rows), period.start)
        last = max(max(row["predicted_for"] for row in rows), period.end)
        margin = (last - first) / 40
        axes.set_xlim(first - margin, last + margin)
        for position, row in enumerate(rows):
            marker, colour = SEVERITIES[row["severity"]]
            name = short(row["resource_name"], width.characters(60, 18))
            text = f"{name}: {row['anomaly_type']} · {OUTCOMES[row['outcome']]}"
            axes.text(
                0.0, position - 0.16, text, va="bottom",
                transform=axes.get_yaxis_transform(), fontsize=7.5,
            )  # fmt: skip
            axes.plot(
                [row["available_at"], row["predicted_for"]], [position + 0.1] * 2, color=colour, linewidth=1.6
            )
            axes.plot(row["available_at"], position + 0.1, marker="|", color=colour, markersize=8)
            filled = row["outcome"] == "confirmed"
            axes.plot(
                row["predicted_for"], position + 0.1, marker=marker, markersize=7, color=colour,
                markerfacecolor=colour if filled else "white", markeredgewidth=1.6,
            )  # fmt: skip
            if row["outcome"] == "false_alarm":
                axes.plot(row["predicted_for"], position + 0.1, marker="x", markersize=5, color=INK)
        if first <= read_at <= last:
            axes.axvline(read_at, color=MUTED, linewidth=0.9, linestyle=":")
        axes.set_ylim(len(rows) - 0.4, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("local time")
        time_axis(axes, period.zone, width)
        keys = [
            Line2D([], [], marker=marker, color=colour, linestyle="", label=name)
            for name, (marker, colour) in SEVERITIES.items()
        ]
        keys += [
            Line2D([], [], marker="|", color=MUTED, label="first known"),
            Line2D([], [], marker="o", color=MUTED, linestyle="", label="confirmed"),
            Line2D(
                [],
                [],
                marker="o",
                color=MUTED,
                linestyle="",
                markerfacecolor="white",
                label="open or unknown",
            ),
            Line2D([], [], marker="x", color=INK, linestyle="", label="false alarm"),
        ]
        legend(made, keys, width, 4)
        return made

    return picture(
        draw,
        "Time line of predicted anomalies, from when each was first known to when it was predicted for: "
        + "; ".join(f"{label_of(row)} ({row['severity']}, {OUTCOMES[row['outcome']]})" for row in rows)
        + ".",
    )


def label_of(row: Row) -> str:
    """Describe the subject of a prediction."""
    return f"{row['resource_name']}: {row['anomaly_type']}"


def coverage(series: list[tuple[str, str, set[dt.date]]], period: Period) -> Picture:
    """Draw the days on which each series has data."""

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(
            width, 0.95 + 0.2 * len(series) + (0.08 * len(series) if width.is_narrow else 0)
        )
        for position, (kind, _, days) in enumerate(series):
            axes.barh(position, period.days, 0.5, left=date2num(period.first_day), color="#eef1f4")
            axes.broken_barh(
                [(date2num(first), length) for first, length in stretches(days)],
                (position - 0.25, 0.5),
                color=KINDS[kind],
            )
        first = date2num(period.first_day)
        axes.set(xlim=(first, first + period.days), ylim=(len(series) - 0.4, -0.6))
        axes.set_yticks(
            range(len(series)),
            [wrapped(name, 16) if width.is_narrow else short(name, 30) for _, name, _ in series],
        )
        axes.tick_params(axis="y", labelcolor=INK, length=0, labelsize=7.5)
        axes.spines["left"].set_visible(False)
        axes.xaxis_date(tz=ZoneInfo("UTC"))
        time_axis(axes, ZoneInfo("UTC"), width)
        axes.set_xlabel("local day")
        there = [kind for kind in KINDS if any(kind == other for other, _, _ in series)]
        keys = [Patch(color=KINDS[kind], label=kind) for kind in there]
        legend(made, [*keys, Patch(color="#e3e8ed", label="no data")], width, 5)
        return made

    return picture(
        draw, f"Days with data of {len(series)} series over {period.days} local days; gaps in the table."
    )


def stretches(days: set[dt.date]) -> list[tuple[dt.date, int]]:
    """Return runs of consecutive days: first day and length."""
    found: list[tuple[dt.date, int]] = []
    for day in sorted(days):
        if found and found[-1][0] + dt.timedelta(days=found[-1][1]) == day:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((day, 1))
    return found
