"""The style of all charts, and their conversion to SVG.

Text stays text (`svg.fonttype: none`): it is smaller than outlines, uses the reader's font, and shows every
script even if the measuring font lacks its letters. It is measured in DejaVu Sans, one of the widest, so what
fits there fits elsewhere. The colours are those of Okabe and Ito, which colour-blind people can distinguish.
"""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib as mpl
from matplotlib import dates
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

BLUE, SKY, GREEN, ORANGE, RED, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"
INK, MUTED, RULE, FAINT = "#1b2733", "#4a5866", "#d5dbe1", "#eef1f4"

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "hatch.color": "#b3bcc5",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.4,
    "legend.borderaxespad": 0.0,
}
# Not allowed in XML, but in names in PostgreSQL.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]+")


@dataclass(frozen=True)
class Width:
    """The target format of a drawing."""

    inches: float
    is_narrow: bool

    def characters(self, wide: int, narrow: int) -> int:
        """Maximum length of a label."""
        return narrow if self.is_narrow else wide


WIDE, NARROW = Width(7.6, False), Width(3.7, True)

Draw = Callable[[Width], Figure]


@dataclass(frozen=True)
class Picture:
    """One drawing for wide pages and print, one for phones, and a text description of both."""

    wide: str
    narrow: str
    alt: str


def picture(draw: Draw, alt: str) -> Picture:
    """Draw both widths."""
    with _settings():
        return Picture(_svg(draw(WIDE)), _svg(draw(NARROW)), alt)


@contextmanager
def _settings() -> Iterator[None]:
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # The reader's browser has fonts for letters that the measuring font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
        yield


def _svg(figure: Figure) -> str:
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"'?DejaVu Sans'?(?:, sans-serif)?", "system-ui, 'DejaVu Sans', sans-serif", drawing)
    for needless in (
        r'(?<=<g) id="[A-Za-z0-9]+_\d+"(?=>)',
        r' transform="rotate\(-0 [^)"]*\)"',
        r"(?<=\n)\s+",
    ):
        drawing = re.sub(needless, "", drawing)
    return drawing


def figure(width: Width, height: float, rows: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return an empty drawing with `rows` axes below one another."""
    made = Figure(figsize=(width.inches, height), layout="constrained")
    axes = made.subplots(rows, 1, squeeze=False, **options)[:, 0]
    return made, axes


def label(text: object) -> str:
    """Return a name without characters that SVG does not allow."""
    return _CONTROL.sub(" ", str(text)).strip()


def short(text: object, length: int) -> str:
    """Shorten a name to at most `length` characters."""
    name = label(text)
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def wrapped(text: object, length: int) -> str:
    """Wrap a name into at most two lines of `length` characters."""
    lines = textwrap.wrap(label(text), length) or [""]
    return "\n".join([lines[0], short(" ".join(lines[1:]), length)]) if len(lines) > 1 else lines[0]


def ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return black or white, whichever is readable on this colour: a WCAG contrast of at least 4.5 to 1."""
    red, green, blue = (
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in colour[:3]
    )
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"


def time_axis(axes: Any, zone: ZoneInfo, width: Width) -> None:
    """Label the time axis in local time, with as many ticks as fit."""
    first, last = axes.get_xlim()
    locator = dates.AutoDateLocator(
        tz=zone,
        minticks=3,
        maxticks=5 if width.is_narrow else 9,
        # Multiples of days restart with each month: the labels of the 29th and the 1st would overlap.
        interval_multiples=not 3 <= last - first <= 60,
    )
    locator.intervald[dates.DAILY] = [1, 2, 4, 7, 14]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        dates.ConciseDateFormatter(
            locator,
            tz=zone,
            formats=["%Y", "%b", "%-d %b", "%H:%M", "%H:%M", "%S"],
            zero_formats=["", "%Y", "%-d %b", "%-d %b", "%H:%M", "%H:%M"],
            show_offset=False,
        )
    )


def legend(made: Figure, handles: list[Any], width: Width, columns: int) -> None:
    """Draw the legend above the chart."""
    made.legend(handles=handles, loc="outside upper left", ncols=2 if width.is_narrow else columns)
