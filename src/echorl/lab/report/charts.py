"""Charts of a report: lines with bands, and values with intervals; as an SVG for the page or a PNG for a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from echorl.lab.report.looks import COLOUR_NAMES, DASHES
from echorl.lab.report.panels import Accuracies, GroupAreas
from echorl.lab.report.plots import BLUE, COLOURS, GREY, as_percent, draw, embeddable, plain_text, whole_numbers
from echorl.support.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKED = 12
"""A line of at most so many points has a marker at each."""
NAMED = 8
"""Lines that a chart's own legend can name."""


@dataclass(frozen=True)
class Line:
    """A line of a chart; `low` and `high`, if they are there, have a value for each of `y`, or None.

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
    """Lines over something; `percent` for shares, `log` for what spans magnitudes (there zeros are left out)."""

    title: str
    x_label: str
    lines: Sequence[Line]
    y_label: str = ""
    percent: bool = False
    log: bool = False
    named: bool = False
    """Whether the chart names its lines on the page, too; a legend for several charts stands beside them."""

    size = (4.4, 3.1)
    """In inches."""

    @classmethod
    def from_json(cls, curve: Mapping[str, Any]) -> Chart:
        """From an analysis' {"title", "x_label", "y_label", "lines": [{"label", "x", "y", "low", "high"}]}."""
        lines = [
            Line(line["label"], i, line["x"], line["y"], line.get("low") or (), line.get("high") or ())
            for i, line in enumerate(curve["lines"])
        ]
        return cls(curve["title"], curve["x_label"], lines, curve["y_label"], named=True)

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """On the axes; a line's artists have the group id `look-N`."""
        for line in self.lines:
            _draw_line(ax, line, log=self.log)
        ax.set(title=plain_text(self.title), xlabel=plain_text(self.x_label), ylabel=plain_text(self.y_label))
        if self.log:
            ax.set_yscale("log")
        elif self.percent:
            ax.set_ylim(0, max(0.01, ax.get_ylim()[1]))
            as_percent(ax, decimals=None)
        if all(float(x).is_integer() for line in self.lines for x in line.x):
            whole_numbers(ax)
        if legend and self.lines:
            ax.margins(y=0.12)
            ax.legend(loc="best", fontsize=7.5 if len(self.lines) > NAMED // 2 else None)


@dataclass(frozen=True)
class Intervals:
    """Values with their intervals, one below the other, beside a line at zero: (label, value, low, high)."""

    title: str
    x_label: str
    rows: Sequence[tuple[str, float, float | None, float | None]]
    named = True

    @property
    def size(self) -> tuple[float, float]:
        return (7.0, 1.1 + 0.26 * len(self.rows))

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """On the axes, the first row on top; there is nothing for a legend to name."""
        ax.axvline(0, color=GREY, linewidth=1, linestyle="--")
        for y, (_, value, low, high) in enumerate(self.rows):
            if low is not None and high is not None:
                ax.plot((low, high), (y, y), color=BLUE, linewidth=2)
            ax.plot((value,), (y,), color=BLUE, marker="o", markersize=5)
        ax.set(title=plain_text(self.title), xlabel=plain_text(self.x_label), ylim=(len(self.rows) - 0.5, -0.5))
        ax.set_yticks(range(len(self.rows)), [plain_text(label) for label, *_ in self.rows])


Drawn: TypeAlias = Chart | Intervals | GroupAreas | Accuracies


def svg(chart: Drawn) -> str:
    """The chart as an `<svg>` element in the page's colours; the artists of a line have the class `look-N`."""
    drawn = draw([lambda ax: chart.draw(ax, legend=chart.named)], size=chart.size, suffix="svg").decode()
    drawn = re.sub(r'id="look-(\d+)[a-z]?"', r'class="look-\1"', drawn)
    drawn = re.sub(r'\sid="[a-z][a-z0-9.]*_\d+"', "", drawn)  # of axes and ticks, the same in every chart
    element = embeddable(drawn, title=chart.title)
    return element.replace("<svg", '<svg class="wide"', 1) if isinstance(chart, Intervals) else element


def write_png(charts: Sequence[Drawn], path: Path, size: tuple[float, float] | None = None) -> None:
    """Write charts of one size side by side, each with its legend, on white, in one move."""
    panels = [partial(chart.draw, legend=True) for chart in charts]
    write_bytes(path, draw(panels, size=size or charts[0].size, suffix="png"))


def _draw_line(ax: Axes, line: Line, *, log: bool) -> None:
    shown = [i for i, y in enumerate(line.y) if y is not None and math.isfinite(y) and (y > 0 or not log)]
    x, y = [line.x[i] for i in shown], [line.y[i] for i in shown]
    colour, dashes = COLOURS[COLOUR_NAMES[line.look % len(COLOUR_NAMES)]], DASHES[line.look % len(DASHES)]
    marker = "o" if len(x) <= MARKED else ""
    style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3.5, "linestyle": (0, dashes)}
    ax.plot(
        x,
        y,
        label=plain_text(line.label),
        gid=f"look-{line.look}",
        **(style if dashes else {**style, "linestyle": "-"}),
    )
    if line.low and line.high:
        least = min(y) if log and y else -math.inf  # a band that reaches 0 ends at the line's lowest point there
        band = [
            (line.x[i], max(low, least), max(high, least))
            for i in shown
            if (low := line.low[i]) is not None and (high := line.high[i]) is not None
        ]
        ends, lows, highs = ([values[column] for values in band] for column in range(3))
        ax.fill_between(ends, lows, highs, color=colour, alpha=0.18, linewidth=0, gid=f"look-{line.look}b")
