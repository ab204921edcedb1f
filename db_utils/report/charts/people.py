"""Charts of attendance and production plans."""

from __future__ import annotations

import datetime as dt

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from db_utils.report.charts.style import (
    BLUE,
    INK,
    ORANGE,
    Picture,
    Width,
    figure,
    legend,
    picture,
    short,
    time_axis,
)
from db_utils.report.data import Attendance, Period
from db_utils.values import Row

LOW_PCT = 90.0


def attendance(people: list[Attendance], days: list[Row], period: Period) -> Picture:
    """Draw attendance by employee, lowest first, and by local day."""

    def draw(width: Width) -> Figure:
        bars = 0.4 + 0.27 * len(people)
        made, (left, below) = figure(
            width, 0.75 + bars + 1.35, rows=2, gridspec_kw={"height_ratios": [bars, 1.35]}
        )
        for position, one in enumerate(people):
            low = one.rate < LOW_PCT
            left.barh(position, one.rate, 0.66, color=ORANGE if low else BLUE)
            left.text(1, position, f"{one.rate:.0f} %", va="center", color=INK if low else "white"
            )  # fmt: skip
        left.axvline(LOW_PCT, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        left.set(xlim=(0, 100), ylim=(len(people) - 0.4, -0.6))
        left.set_yticks(
            range(len(people)), [short(one.full_name, width.characters(28, 18)) for one in people]
        )
        left.tick_params(axis="y", labelcolor=INK, length=0)
        left.set_xlabel("scheduled shifts attended (%)")
        below.set_title("By local day, all employees")
        below.plot(
            [_noon(row["day"], period) for row in days],
            [100 * row["attended_count"] / row["scheduled_count"] for row in days],
            color=BLUE, linewidth=1.2, marker="o", markersize=3 if len(days) < 100 else 0,
        )  # fmt: skip
        below.axhline(LOW_PCT, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        below.set(ylim=(0, 105), ylabel="attended (%)", xlim=(period.start, period.end))
        below.set_yticks([0, 50, 100])
        below.grid(axis="y")
        time_axis(below, period.zone, width)
        keys = [
            Patch(color=ORANGE, label=f"below {LOW_PCT:.0f} %"),
            Patch(color=BLUE, label=f"{LOW_PCT:.0f} % and above"),
        ]
        legend(made, keys, width, 2)
        return made

    words = "; ".join(f"{one.full_name} {one.rate:.0f} %" for one in people)
    return picture(draw, f"Bars of attendance by employee, lowest first: {words}. Below them, a line by day.")


def plans(by_location: dict[str, list[Row]], period: Period) -> Picture:
    """Draw plan attainment by local day."""

    def draw(width: Width) -> Figure:
        made, panels = figure(
            width, 0.6 + 1.3 * len(by_location), rows=len(by_location), sharex=True, sharey=True
        )
        for axes, (name, rows) in zip(panels, by_location.items(), strict=True):
            axes.set_title(short(name, width.characters(80, 36)))
            values = [float(row["efficiency_pct"]) for row in rows]
            days = [_noon(row["plan_date"], period) for row in rows]
            colours = [ORANGE if value < LOW_PCT else BLUE for value in values]
            axes.vlines(days, 100, values, colors=colours, linewidth=1.4)
            axes.scatter(days, values, c=colours, s=14, zorder=3)
            axes.axhline(100, color=INK, linewidth=0.9)
            axes.set_ylabel("produced of planned (%)")
            axes.grid(axis="y")
            axes.yaxis.set_major_locator(MaxNLocator(4))
        everything = [float(row["efficiency_pct"]) for rows in by_location.values() for row in rows]
        panels[-1].set_ylim(min([85.0, *everything]) - 3, max([105.0, *everything]) + 3)
        time_axis(panels[-1], period.zone, width)
        panels[-1].set_xlim(period.start, period.end)
        keys = [
            Line2D([], [], color=BLUE, marker="o", markersize=3.5, label=f"{LOW_PCT:.0f} % and above"),
            Line2D([], [], color=ORANGE, marker="o", markersize=3.5, label=f"below {LOW_PCT:.0f} %"),
            Line2D([], [], color=INK, label="as planned (100 %)"),
        ]
        legend(made, keys, width, 3)
        return made

    return picture(draw, f"Plan attainment by local day at {', '.join(by_location)}; figures in the table.")


def _noon(day: dt.date, period: Period) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12), period.zone)
