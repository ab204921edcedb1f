"""Charts of resources: use of planned time, and utilization by hour."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from db_utils.report.charts.style import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RULE,
    Picture,
    Width,
    figure,
    ink_on,
    legend,
    picture,
    short,
    wrapped,
)

GOOD, AVAILABILITY, SPEED, QUALITY = BLUE, "#8a97a5", ORANGE, PURPLE


@dataclass(frozen=True)
class Losses:
    """How one resource's planned time was used (minutes); None with the reason where not known.

    planned = good + availability_loss + effectiveness_loss + quality_loss; a loss below 0 is a gain: work outside the
    planned shifts, or faster than rated.
    """

    name: str
    reason: str | None
    planned: float = 0.0
    good: float = 0.0
    availability_loss: float = 0.0
    effectiveness_loss: float = 0.0
    quality_loss: float = 0.0

    @property
    def oee(self) -> float:
        """Good time of planned time, 0 to 100."""
        return 100 * self.good / self.planned

    def share(self, minutes: float) -> float:
        """Minutes as a share of the planned time, 0 to 100."""
        return 100 * minutes / self.planned


def oee(losses: list[Losses]) -> Picture:
    """Draw the use of each resource's planned time."""

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 0.8 + 0.46 * len(losses))
        farthest = 100.0
        for position, one in enumerate(losses):
            name = short(one.name, width.characters(60, 26))
            axes.text(0, position - 0.33, name, va="bottom", fontweight="bold")
            if one.reason is not None:
                axes.barh(position, 100, 0.5, color="white", edgecolor=RULE, hatch="///")
                axes.text(
                    2, position, one.reason, va="center", color=MUTED,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                )  # fmt: skip
                continue
            axes.text(
                100, position - 0.33, f"OEE {one.oee:.1f} %", va="bottom", ha="right", fontweight="bold"
            )
            left = 0.0
            for minutes, colour in (
                (one.good, GOOD),
                (one.quality_loss, QUALITY),
                (one.effectiveness_loss, SPEED),
                (one.availability_loss, AVAILABILITY),
            ):
                share = max(one.share(minutes), 0.0)
                axes.barh(position, share, 0.5, left=left, color=colour, edgecolor="white", linewidth=0.6)
                if share >= width.characters(5, 10):
                    ink = "white" if colour == GOOD else INK
                    axes.text(left + share / 2, position, f"{share:.0f}", ha="center", va="center", color=ink)
                left += share
            farthest = max(farthest, left)
        axes.set(xlim=(0, farthest), ylim=(len(losses) - 0.6, -0.75), xlabel="share of planned busy time (%)")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        keys = [
            Patch(color=GOOD, label="good time (OEE)"),
            Patch(color=QUALITY, label="quality loss"),
            Patch(color=SPEED, label="effectiveness loss" if not width.is_narrow else "effectiveness"),
            Patch(color=AVAILABILITY, label="availability loss"),
        ]
        legend(made, keys, width, 4)
        return made

    known = [one for one in losses if one.reason is None]
    words = "; ".join(f"{one.name} {one.oee:.1f} %" for one in known)
    return picture(draw, f"Stacked bars, one a resource, of planned busy time. OEE: {words}.")


def utilization(rows: list[tuple[str, dict[int, float]]]) -> Picture:
    """Draw each resource's utilization by hour of the day."""

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 1.0 + (0.36 if width.is_narrow else 0.32) * len(rows))
        cells = [[hours.get(hour, math.nan) for hour in range(24)] for _, hours in rows]
        axes.add_patch(_no_data(len(rows)))
        mesh = axes.pcolormesh(cells, cmap="cividis", vmin=0, vmax=100, edgecolors="white", linewidth=0.6)
        if not width.is_narrow:
            for position, hours in enumerate(cells):
                for hour, value in enumerate(hours):
                    if not math.isnan(value):
                        axes.text(
                            hour + 0.5, position + 0.5, f"{value:.0f}", ha="center", va="center", fontsize=6.5,
                            color=ink_on(mesh.cmap(value / 100)),
                        )  # fmt: skip
        axes.set_ylim(len(rows), 0)
        axes.set_yticks(
            [position + 0.5 for position in range(len(rows))],
            [wrapped(name, width.characters(22, 15)) for name, _ in rows],
        )
        axes.tick_params(axis="y", labelcolor=INK, length=0)
        step = 6 if width.is_narrow else 3
        axes.set_xticks(range(0, 25, step), [f"{hour:02d}:00" for hour in range(0, 25, step)])
        axes.set_xlabel("local time of the location")
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        bar = made.colorbar(
            ScalarMappable(Normalize(0, 100), mesh.cmap), ax=axes, location="top", aspect=40, shrink=0.6, pad=0.03,
            anchor=(0.0, 0.5),
        )  # fmt: skip
        bar.set_label("utilization (%), hatched: not measured", loc="left")
        bar.outline.set_visible(False)
        return made

    return picture(
        draw, f"Heat map of mean utilization, {len(rows)} resources by 24 local hours; figures in the table."
    )


def _no_data(rows: int) -> Patch:
    return Rectangle((0, 0), 24, rows, facecolor=FAINT, edgecolor="#b3bcc5", hatch="////", linewidth=0)
