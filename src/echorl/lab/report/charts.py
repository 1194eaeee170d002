"""Charts of a report, lines with bands and values with intervals, as an SVG for the page or a PNG for a paper."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from echorl.lab.report.panels import Accuracies, Bars, GroupAreas
from echorl.lab.report.plots import (
    BLUE,
    COLOURS,
    DASHES,
    GREY,
    INK,
    colour_of,
    draw,
    plain_text,
    whole_numbers,
    wrapped,
)
from echorl.support.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKED = 12
"""The most points of a line that has a marker at each."""
HEADROOM = 1.08
"""Height of a chart of shares, which begins at 0, in largest values, so that the curve lies within it."""
WHOLE = 1.02
"""Height of a chart of shares up to 100 %: it has no tick above."""
NAMED = 8
"""Lines that the legend of a chart can name."""


@dataclass(frozen=True)
class Line:
    """A line of a chart, with its band if `low` and `high` are given.

    `look` chooses colour and dashes; charts of the same runs share it.
    """

    label: str
    look: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over an x axis; the y axis has shares in `percent`, or a `log` scale without zeros.

    `powers`: the x axis has a logarithmic scale with ticks at powers of two. `caption`: text below it on the page.
    """

    title: str
    x_label: str
    lines: Sequence[Line]
    y_label: str = ""
    percent: bool = False
    log: bool = False
    named: bool = False
    """True if the chart names its lines on the page, False if a legend beside several charts names them."""
    powers: bool = False
    caption: str = ""

    size = (4.4, 3.1)
    """Width and height in inches."""

    @classmethod
    def from_json(cls, curve: Mapping[str, Any]) -> Chart:
        """Return the chart of an analysis' {"title", "x_label", "y_label", "lines": [{"label", "x", "y", ...}]}."""
        lines = [
            Line(line["label"], i, line["x"], line["y"], line.get("low") or (), line.get("high") or ())
            for i, line in enumerate(curve["lines"])
        ]
        return cls(curve["title"], curve["x_label"], lines, curve["y_label"], named=True)

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """Draw the lines on the axes; their artists have the group id `look-N`."""
        from matplotlib.ticker import PercentFormatter

        for line in self.lines:
            _draw_line(ax, line, log=self.log)
        ax.set(title=wrapped(self.title, self.size), xlabel=plain_text(self.x_label), ylabel=plain_text(self.y_label))
        if self.log:
            ax.set_yscale("log")
            _plain_log_ticks(ax)
        elif self.percent:
            room = 0.07 * len(self.lines) if legend and self.named else 0  # above the lines, for their names
            top = (HEADROOM + room) * ax.dataLim.y1
            ax.set_ylim(0, max(0.01, top if ax.dataLim.y1 > 1 else min(top, WHOLE)))
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))  # as many as the ticks need
        if self.powers:
            ax.set_xscale("log", base=2)
            ax.xaxis.set_major_formatter("{x:.0f}")
        elif all(float(x).is_integer() for line in self.lines for x in line.x):
            whole_numbers(ax)
        if legend and self.lines:
            ax.margins(y=0.12)
            ax.legend(loc="best", handlelength=3, fontsize=7.5 if len(self.lines) > NAMED // 2 else None)


@dataclass(frozen=True)
class Intervals:
    """Values with their intervals, one below another, beside a line at zero: (label, value, low, high)."""

    title: str
    x_label: str
    rows: Sequence[tuple[str, float, float | None, float | None]]
    named = True

    @property
    def size(self) -> tuple[float, float]:
        return (7.0, 1.1 + 0.26 * len(self.rows))

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """Draw the rows on the axes, from the top down, without a legend."""
        ax.axvline(0, color=GREY, linewidth=1, linestyle="--")
        for y, (_, value, low, high) in enumerate(self.rows):
            if low is not None and high is not None:
                ax.plot((low, high), (y, y), color=BLUE, linewidth=2)
            ax.plot((value,), (y,), color=BLUE, marker="o", markersize=5)
        ax.set(title=wrapped(self.title, self.size), xlabel=plain_text(self.x_label), ylim=(len(self.rows) - 0.5, -0.5))
        ax.set_yticks(range(len(self.rows)), [plain_text(label) for label, *_ in self.rows])


Drawn: TypeAlias = Chart | Intervals | GroupAreas | Accuracies | Bars


def svg(chart: Drawn) -> str:
    """Return the chart as an `<svg>` element in the page's colours; the artists of a line have the class `look-N`."""
    text = draw([lambda ax: chart.draw(ax, legend=chart.named)], size=chart.size, suffix="svg").decode()
    text = re.sub(r'id="look-(\d+)[a-z]?"', r'class="look-\1"', text[text.index("<svg") :])
    text = re.sub(r'\sid="[a-z][a-z0-9.]*_\d+"', "", text)  # ids of axes and ticks, the same in every chart
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)  # URLs of name spaces
    tag, content = text.split(">", 1)
    text = re.sub(r'\s(width|height)="[^"]*"', "", tag) + ">" + content
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name})")
    text = text.replace(INK, "currentColor")
    kind = 'class="wide" ' if isinstance(chart, Intervals) else ""
    return text.replace("<svg", f'<svg {kind}role="img" aria-label="{html.escape(chart.title)}"', 1)


def write_png(charts: Sequence[Drawn], path: Path, size: tuple[float, float] | None = None) -> None:
    """Write charts of one size side by side, each with its legend, on white, in one move."""
    panels = [partial(chart.draw, legend=True) for chart in charts]
    write_bytes(path, draw(panels, size=size or charts[0].size, suffix="png"))


def _plain_log_ticks(ax: Axes) -> None:
    """Write 0.3 in place of 3 x 10^-1 where the axis has less than a decade or two, and name several of its ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = ax.dataLim.intervaly
    if low > 0 and high < 50 * low:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if high < 10 * low else (1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())


def _draw_line(ax: Axes, line: Line, *, log: bool) -> None:
    shown = [i for i, y in enumerate(line.y) if y is not None and math.isfinite(y) and (y > 0 or not log)]
    x, y = [line.x[i] for i in shown], [line.y[i] for i in shown]
    colour, dashes = colour_of(line.look), DASHES[line.look % len(DASHES)]
    style: dict[str, Any] = {"linestyle": (0, dashes) if dashes else "-", "marker": "o" if len(x) <= MARKED else ""}
    ax.plot(x, y, label=plain_text(line.label), gid=f"look-{line.look}", color=colour, markersize=3.5, **style)
    if line.low and line.high:
        least = min(y) if log and y else -math.inf  # a log axis has no 0, so a band ends at the line's lowest point
        bounds = ((line.x[i], line.low[i], line.high[i]) for i in shown)
        band = [
            (x, max(low, least), max(high, least)) for x, low, high in bounds if low is not None and high is not None
        ]
        ends, lows, highs = ([values[column] for values in band] for column in range(3))
        ax.fill_between(ends, lows, highs, color=colour, alpha=0.18, linewidth=0, gid=f"look-{line.look}b")
