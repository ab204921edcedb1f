"""Charts of proposed rosters and production plans."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from db_utils.report.charts.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    RED,
    Picture,
    Width,
    figure,
    legend,
    picture,
    short,
    time_axis,
)
from db_utils.values import Row

COLORS = {"keep": BLUE, "add": GREEN, "remove": ORANGE}
WORDS = {"keep": "stands", "add": "added", "remove": "taken off"}
DAY = dt.timedelta(days=1)


def roster(people: list[str], items: list[Row], empty: list[Row], zone: ZoneInfo) -> Picture:
    """Draw the proposed roster and the understaffed shifts.

    `items` have `full_name`, `starts_at`, `ends_at` and `action`; `empty` are the times of understaffed
    shifts.
    """

    def draw(width: Width) -> Figure:
        lines = [*people, *(["someone is missing"] if empty else [])]
        made, (axes,) = figure(width, 0.9 + 0.24 * len(lines))
        place = {name: number for number, name in enumerate(lines)}
        for item in items:
            if item["full_name"] in place:
                axes.barh(
                    place[item["full_name"]], item["ends_at"] - item["starts_at"], 0.7, left=item["starts_at"],
                    color="none" if item["action"] == "remove" else COLORS[item["action"]],
                    edgecolor=COLORS[item["action"]], linewidth=0.8,
                )  # fmt: skip
        for gap in empty:
            axes.barh(
                len(lines) - 1, gap["ends_at"] - gap["starts_at"], 0.7, left=gap["starts_at"], color=RED
            )
        axes.set(ylim=(len(lines) - 0.4, -0.6))
        axes.set_yticks(range(len(lines)), [short(name, width.characters(28, 16)) for name in lines])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        time_axis(axes, zone, width)
        keys = [
            Patch(facecolor="none" if a == "remove" else c, edgecolor=c, label=WORDS[a])
            for a, c in COLORS.items()
        ]
        legend(made, keys, width, 3)
        return made

    return picture(
        draw,
        f"A line for each of {len(people)} people, a bar for each shift; {len(empty)} shifts remain understaffed.",
    )


def schedule(resources: list[str], items: list[Row]) -> Picture:
    """Draw planned production by resource and day, with late parts marked. A full cell is 24 hours."""

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 0.9 + 0.3 * len(resources))
        place = {name: number for number, name in enumerate(resources)}
        used: dict[tuple[str, dt.date], float] = {}
        for item in items:
            if item["resource_name"] not in place:
                continue
            key = (item["resource_name"], item["work_date"])
            first = used.get(key, 0.0)
            hours = float(item["work_hours"])
            used[key] = first + hours
            start = dt.datetime.combine(item["work_date"], dt.time(), dt.UTC) + dt.timedelta(hours=first)
            axes.barh(
                place[item["resource_name"]], dt.timedelta(hours=hours), 0.7, left=start, linewidth=0.4,
                edgecolor="white", color=RED if item["work_date"] > item["plan_date"] else BLUE,
            )  # fmt: skip
        axes.set(ylim=(len(resources) - 0.4, -0.6))
        axes.set_yticks(range(len(resources)), [short(name, width.characters(28, 16)) for name in resources])
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        time_axis(axes, ZoneInfo("UTC"), width)  # local days, also across clock changes
        legend(made, [Patch(color=BLUE, label="in time"), Patch(color=RED, label="late")], width, 2)
        return made

    return picture(
        draw, f"A line for each of {len(resources)} resources, a bar for each part of a plan, by day."
    )
