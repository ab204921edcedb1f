"""Charts of recorded and forecast demand."""

from __future__ import annotations

from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from db_utils.report.charts.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    Picture,
    Width,
    figure,
    legend,
    picture,
    short,
    time_axis,
)
from db_utils.report.data import DemandSeries, Period
from db_utils.values import Row


def demand(series: list[DemandSeries], period: Period) -> Picture:
    """Draw recorded and forecast demand."""
    forecast_ink = "#b35900"

    def draw(width: Width) -> Figure:
        made, panels = figure(width, 0.7 + 1.35 * len(series), rows=len(series), sharex=True)
        for axes, one in zip(panels, series, strict=True):
            name = f"{one.product_id} · {one.location_name}"
            axes.set_title(short(name, width.characters(80, 36)))
            axes.plot(
                [row["bucket"] for row in one.history],
                [float("nan") if row["quantity"] is None else float(row["quantity"]) for row in one.history],
                color=BLUE, linewidth=1.3, marker="o", markersize=2.4 if len(one.history) < 100 else 0,
            )  # fmt: skip
            times = [row["target_time"] for row in one.forecasts]
            axes.plot(times, [float(row["predicted_quantity"]) for row in one.forecasts], color=forecast_ink,
                      linewidth=1.3, linestyle=(0, (4, 1.5)))  # fmt: skip
            bounds = [row for row in one.forecasts if row["lower_bound"] is not None]
            axes.fill_between(
                [row["target_time"] for row in bounds],
                [float(row["lower_bound"]) for row in bounds],
                [float(row["upper_bound"]) for row in bounds],
                color=ORANGE, alpha=0.28, linewidth=0,
            )  # fmt: skip
            if one.forecasts:
                axes.axvline(period.end, color=MUTED, linewidth=0.8, linestyle=":")
            axes.set_ylim(bottom=0)
            axes.set_ylabel(f"quantity / {one.bucket}")
            axes.grid(axis="y")
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        time_axis(panels[-1], period.zone, width)
        panels[-1].set_xlim(
            dates.date2num(period.start),
            max(
                [dates.date2num(period.end)]
                + [dates.date2num(row["target_time"]) for one in series for row in one.forecasts]
            ),
        )
        keys = [
            Line2D([], [], color=BLUE, marker="o", markersize=2.4, label="demanded"),
            Line2D([], [], color=forecast_ink, linestyle=(0, (4, 1.5)), label="forecast"),
            Patch(color=ORANGE, alpha=0.28, label="its interval"),
            Line2D([], [], color=MUTED, linestyle=":", label="end of period"),
        ]
        any_forecast = any(one.forecasts for one in series)
        legend(made, keys if any_forecast else keys[:1], width, 4)
        return made

    names = "; ".join(f"{one.product_id} at {one.location_name}" for one in series)
    return picture(draw, f"Lines of demand by local {series[0].bucket}, with forecasts: {names}.")


def skill(series: list[tuple[str, Row]]) -> Picture:
    """Draw the forecast error of each series next to the naive one's. Takes a label and a backtest each."""
    grey = "#8a97a5"

    def draw(width: Width) -> Figure:
        made, (axes,) = figure(width, 0.9 + 0.5 * len(series))
        for position, (name, row) in enumerate(series):
            axes.text(
                0, position - 0.32, short(name, width.characters(60, 30)), va="bottom", fontweight="bold"
            )
            if row["skill_pct"] is not None:
                axes.annotate(
                    f"skill {row['skill_pct']:.0f} %", (1, position - 0.32), xycoords=("axes fraction", "data"),
                    va="bottom", ha="right", color=INK,
                )  # fmt: skip
            axes.barh(position - 0.14, float(row["wape_pct"]), 0.26, color=BLUE)
            axes.barh(position + 0.14, float(row["naive_wape_pct"] or 0), 0.26, color=grey)
        axes.set(ylim=(len(series) - 0.6, -0.8), xlabel="WAPE (%)")
        axes.set_xlim(left=0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        keys = [Patch(color=BLUE, label="champion"), Patch(color=grey, label="better naive forecast")]
        legend(made, keys, width, 2)
        return made

    words = "; ".join(
        f"{name} {row['wape_pct']:.1f} % against {row['naive_wape_pct'] or 0:.1f} %" for name, row in series
    )
    return picture(
        draw, f"Bars of forecast error, the champion's and the naive one's, of each series: {words}."
    )
