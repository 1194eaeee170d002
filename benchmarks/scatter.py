"""Chart of a report with named places on the x axis and dots with intervals at each place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from echorl.lab.report.charts import plain_text
from echorl.lab.report.plots import COLOUR_NAMES, COLOURS, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Dots:
    """Values with their intervals, one at each place of a scatter."""

    label: str
    look: int
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Scatter:
    """Named places on the x axis with dots at each, and lines at zero; nearly equal places stand side by side."""

    title: str
    x_label: str
    x: Sequence[float]
    names: Sequence[str]
    dots: Sequence[Dots]
    y_label: str = ""
    named = True

    size = (7.4, 4.8)
    """Width and height in inches."""

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """Draw the chart on the axes, with the names above all intervals."""
        for zero in (ax.axhline, ax.axvline):
            zero(0, color=GREY, linewidth=1, linestyle="--")
        gap = (max(*self.x, 0.0) - min(*self.x, 0.0) or 1.0) / 40
        places = _apart(self.x, gap)
        for number, dots in enumerate(self.dots):
            shifted, colour = (
                [x + gap * number / 4 for x in places],
                COLOURS[COLOUR_NAMES[dots.look % len(COLOUR_NAMES)]],
            )
            ax.vlines(shifted, dots.low, dots.high, color=colour, linewidth=1.2, alpha=0.6)
            ax.plot(shifted, dots.y, "o", color=colour, markersize=5, label=plain_text(dots.label))
        low, top = min(min(dots.low) for dots in self.dots), max(max(dots.high) for dots in self.dots)
        for x, name in zip(places, self.names, strict=True):
            ax.annotate(
                plain_text(name), (x, top), (0, 4), textcoords="offset points", fontsize=7, rotation=90, ha="center"
            )
        ax.set_ylim(low - 0.05 * (top - low or 1.0), top + 0.75 * (top - low or 1.0))  # room for the names
        ax.set(title=plain_text(self.title), xlabel=plain_text(self.x_label), ylabel=plain_text(self.y_label))
        if legend:
            beside_the_title = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0}
            ax.legend(ncol=len(self.dots), **beside_the_title)


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Places for values; values closer than `gap` stand side by side around their mean.

    >>> _apart([1.0, 2.0, 1.0], 0.5)
    [0.75, 2.0, 1.25]
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(values)), key=values.__getitem__):
        last = groups[-1] if groups else []
        if last and values[i] < _middle(values, last) + gap * (len(last) + 1) / 2:  # no room right of them
            last.append(i)
        else:
            groups.append([i])
    places = [0.0] * len(values)
    for group in groups:
        for k, i in enumerate(group):
            places[i] = _middle(values, group) + gap * (k - (len(group) - 1) / 2)
    return places


def _middle(values: Sequence[float], group: Sequence[int]) -> float:
    return sum(values[i] for i in group) / len(group)
