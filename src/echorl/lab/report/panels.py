"""Panels of a study's picture: groups of rollouts by kind over a training, and the accuracy of every arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echorl.lab.report.plots import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PAPER,
    PURPLE,
    SKY,
    colour_of,
    plain_text,
    whole_numbers,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AREAS = {
    "all_success": ("all succeed:\nno policy gradient", GREEN, "////"),
    "mixed": ("mixed", BLUE, ""),
    "uniform_reward": ("equal rewards", PURPLE, "xx"),
    "unscored": ("no verdict", SKY, "oo"),
    "truncated": ("truncated", PAPER, "||"),
    "all_fail": ("all fail", GREY, "...."),
}
"""Kind of group -> (name, colour, hatch), from the lowest area to the highest."""
LEAST_NAMED = 0.08
"""Share of the groups below which an area has no room for its name."""
ROOM = 0.2
"""Share of the width at either end in which no name is centred, since half of it would be outside."""
MARKERS = ("o", "D", "^", "v")
MOST_ARMS = len(MARKERS)
"""Trained arms that the accuracies have room for."""

Estimates = Mapping[str, tuple[float, float, float]]
"""Arm -> (value, low, high), in [0, 1]."""


@dataclass(frozen=True)
class GroupAreas:
    """Stacked shares of the groups by kind, each named in its area."""

    title: str
    x_label: str
    x: Sequence[float]
    shares: Mapping[str, Sequence[float]]

    size = (4.4, 3.1)
    named = True

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """Draw on the axes; the areas name themselves."""
        below = [0.0] * len(self.x)
        for kind in (kind for kind in AREAS if any(self.shares.get(kind, ()))):
            name, colour, hatch = AREAS[kind]
            above = [a + b for a, b in zip(below, self.shares[kind], strict=True)]
            style: dict[str, Any] = {"facecolor": colour, "edgecolor": colour, "hatch": hatch, "linewidth": 0}
            ax.fill_between(self.x, below, above, alpha=0.45, **style)
            ax.plot(self.x, above, color=colour, linewidth=1)
            self._name_area(ax, name, below, above)
            below = above
        end = self.x[-1] if self.x[-1] > self.x[0] else self.x[0] + 1
        ax.set(xlim=(self.x[0], end), ylim=(0, 1), title=wrapped(self.title, self.size), xlabel=self.x_label)
        whole_numbers(ax)
        ax.yaxis.set_major_formatter("{x:.0%}")

    def _name_area(self, ax: Axes, name: str, below: Sequence[float], above: Sequence[float]) -> None:
        """Write the name where the area is tallest, away from the ends, unless it is too thin there."""
        start, margin = self.x[0], ROOM * (self.x[-1] - self.x[0])
        inner = [i for i, x in enumerate(self.x) if start + margin <= x <= self.x[-1] - margin] if margin else []
        at = max(inner or range(len(below)), key=lambda i: above[i] - below[i])
        if above[at] - below[at] > LEAST_NAMED:
            box = {"boxstyle": "round,pad=0.2", "facecolor": PAPER, "alpha": 0.85, "linewidth": 0}
            place = (self.x[at], (above[at] + below[at]) / 2)
            side = "center" if inner else "left" if at == 0 else "right"
            ax.text(*place, name, ha=side, va="center", color=INK, bbox=box)


@dataclass(frozen=True)
class Bars:
    """One or two bars at each place of the x axis; `series`: one or two names -> the share at each place."""

    title: str
    x_label: str
    places: Sequence[str]
    series: Mapping[str, Sequence[float]]
    caption: str = ""

    size = (4.4, 3.1)
    named = True

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """Draw on the axes; the legend names the series if there are several."""
        width, colours = 0.8 / len(self.series), (GREY, BLUE)[-len(self.series) :]
        for number, (name, shares) in enumerate(self.series.items()):
            xs = [place - 0.4 + (number + 0.5) * width for place in range(len(shares))]
            ax.bar(xs, shares, width, label=plain_text(name), color=colours[number])
        step = 1 + (len(self.places) - 1) // 16
        ax.set_xticks(range(0, len(self.places), step), [plain_text(place) for place in self.places[::step]])
        ax.set(title=wrapped(self.title, self.size), xlabel=plain_text(self.x_label))
        ax.yaxis.set_major_formatter("{x:.0%}")
        if len(self.series) > 1:
            ax.legend(loc="best")


@dataclass(frozen=True)
class Accuracies:
    """A dot with its interval for each arm, grouped by test; arms that are not trained are grey.

    Attributes:
        note: title of the legend, which says what the intervals cover.
        looks: trained arm -> its look in the charts of the same study.
    """

    title: str
    note: str
    tests: Mapping[str, Estimates]
    looks: Mapping[str, int]

    size = (4.4, 3.1)
    named = True

    def draw(self, ax: Axes, *, legend: bool) -> None:
        """Draw on the axes, always with a legend."""
        arms = list(next(iter(self.tests.values())))
        for place, arm in enumerate(arms):
            look = self.looks.get(arm)
            colour = GREY if look is None else colour_of(look)
            marker = "s" if look is None else MARKERS[look % len(MARKERS)]
            bounds = [estimates[arm] for estimates in self.tests.values()]
            xs = [i + (place - (len(arms) - 1) / 2) * 0.66 / len(arms) for i in range(len(bounds))]
            errors = [[max(0, v - low) for v, low, _ in bounds], [max(0, high - v) for v, _, high in bounds]]
            style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "", "capsize": 3}
            ax.errorbar(xs, [value for value, _, _ in bounds], yerr=errors, label=plain_text(arm), **style)
            for x, (value, _, high) in zip(xs, bounds, strict=True):
                text: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": INK}
                ax.annotate(f"{value:.0%}", (x, high), (0, 3), **text)
        ticks = {
            "xticks": range(len(self.tests)),
            "xticklabels": [plain_text(test) for test in self.tests],
            "yticks": [0, 0.2, 0.4, 0.6, 0.8, 1],
        }
        ax.set(**ticks, xlim=(-0.6, len(self.tests) - 0.4), title=wrapped(self.title, self.size))
        top = max(high for estimates in self.tests.values() for _, _, high in estimates.values())
        ax.set_ylim(0, min(1.25, max(0.05, top * 1.5)))
        ax.legend(loc="upper right", borderaxespad=0.3, title=self.note, title_fontsize=8.5)
        ax.yaxis.set_major_formatter("{x:.0%}")
