"""Charts of downtime by cause, and of trends by day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from db_utils.report.charts.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    SKY,
    Picture,
    Width,
    figure,
    legend,
    picture,
    short,
    time_axis,
)

_OF_KIND = {"breakdown": "#D55E00", "maintenance": BLUE, "setup": SKY, "idle": "#8a97a5"}
"""Colours of breakdown, maintenance, setup and idle."""


@dataclass(frozen=True)
class Cause:
    """Minutes lost to one cause, in the period and in the one before."""

    event_type: str
    cause: str
    minutes: float
    minutes_before: float
    event_count: int


def pareto(causes: list[Cause], total: float) -> Picture:
    """Draw a Pareto chart of the causes of downtime, with cumulative shares."""

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 1.0 + 0.4 * len(causes))
        together = [100 * minutes / total for minutes in accumulate(one.minutes for one in causes)]
        most = max(max(one.minutes, one.minutes_before) for one in causes) / 60
        for position, (one, share) in enumerate(zip(causes, together, strict=True)):
            axes.barh(position, one.minutes / 60, 0.42, color=_OF_KIND.get(one.event_type, MUTED))
            axes.plot(
                [one.minutes_before / 60] * 2, [position - 0.28, position + 0.28], color=INK, linewidth=1.4
            )
            axes.text(0, position - 0.26, short(one.cause, width.characters(70, 30)), va="bottom")
            axes.text(
                most * 1.02,
                position,
                f"{one.minutes / 60:,.0f} h · {share:.0f} %",
                va="center",
                ha="left",
                color=MUTED,
            )
        axes.set(ylim=(len(causes) - 0.5, -0.75), xlim=(0, most * (1.35 if width.is_narrow else 1.18)))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("hours lost; at the right, the share of all with those above")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        kinds = dict.fromkeys(one.event_type for one in causes)
        keys: list[Any] = [Patch(color=_OF_KIND.get(kind, MUTED), label=kind) for kind in kinds]
        keys.append(Line2D([], [], color=INK, linewidth=1.4, label="the period before"))
        legend(made, keys, width, 5)
        return made

    words = "; ".join(f"{one.cause} {one.minutes / 60:,.0f} h" for one in causes[:6])
    return picture(draw, f"Bars of hours lost, one a cause, most first, against the period before: {words}.")


def trend(days: list[dt.datetime], lines: dict[str, list[float]], bucket: str, zone: Any) -> Picture:
    """Draw the figures over time."""
    inks = dict(zip(lines, (BLUE, "#b35900", ORANGE), strict=False))

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 2.4)
        for name, values in lines.items():
            axes.plot(
                days,
                values,
                color=inks[name],
                linewidth=1.3,
                marker="o",
                markersize=2.2 if len(days) < 100 else 0,
            )
        axes.set_ylim(0, 100)
        axes.set_ylabel(f"% by {bucket}")
        axes.grid(axis="y")
        time_axis(axes, zone, width)
        legend(made, [Line2D([], [], color=inks[name], label=name) for name in lines], width, 3)
        return made

    return picture(
        draw, f"Lines of {' and '.join(lines)} by local {bucket}, {len(days)} of them; figures in the table."
    )


@dataclass(frozen=True)
class Told:
    """Forecast and actual demand of one product at one location."""

    name: str
    times: list[dt.datetime]
    predicted: list[float]
    actual: list[float]


def outcomes(series: list[Told], zone: Any) -> Picture:
    """Draw forecast against actual demand."""

    def draw(width: Width) -> Figure:
        made, panels = figure(width, 0.7 + 1.3 * len(series), rows=len(series), sharex=True)
        for axes, one in zip(panels, series, strict=True):
            axes.set_title(short(one.name, width.characters(80, 36)))
            axes.plot(one.times, one.actual, color=BLUE, linewidth=1.3)
            axes.plot(one.times, one.predicted, color="#b35900", linewidth=1.2, linestyle=(0, (4, 1.5)))
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        time_axis(panels[-1], zone, width)
        keys = [
            Line2D([], [], color=BLUE, label="happened"),
            Line2D([], [], color="#b35900", linestyle=(0, (4, 1.5)), label="forecast before"),
        ]
        legend(made, keys, width, 2)
        return made

    names = "; ".join(one.name for one in series)
    return picture(draw, f"Lines of what happened and of what had been forecast before it: {names}.")
