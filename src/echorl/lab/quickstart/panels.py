"""The quickstart's picture: its panels side by side in one PNG, and each as an SVG for its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.report.plots import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    as_percent,
    draw,
    embeddable,
    smooth,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ARM_COLOURS = {"start": GREY, "grpo": BLUE, "echorl": ORANGE}
ARM_MARKERS = {"start": "s", "grpo": "o", "echorl": "D"}
ARM_LINES = {"grpo": "-", "echorl": (0, (4, 1.5))}
KINDS = {
    "all_success": ("all succeed:\nno policy gradient", GREEN, "////"),
    "mixed": ("mixed", BLUE, ""),
    "all_fail": ("all fail", GREY, "...."),
}
"""Kind of group -> (name, colour, hatch)."""

Bounds = tuple[float, float, float]
"""(value, low, high)."""


@dataclass(frozen=True)
class Curves:
    """What the panels show; every sequence has one entry a training step.

    Attributes:
        labels: arm -> name.
        ledger: kind of group -> its share, in the arm without EchoRL.
        rewards, lengths, entropies: arm -> of the training rollouts: success, tokens a rollout, nats a token.
        accuracy: split's name -> arm -> (value, low, high), in [0, 1].
    """

    labels: Mapping[str, str]
    ledger: Mapping[str, Sequence[float]]
    rewards: Mapping[str, Sequence[float]]
    lengths: Mapping[str, Sequence[float]]
    entropies: Mapping[str, Sequence[float]]
    accuracy: Mapping[str, Mapping[str, Bounds]]


Panel = Callable[["Axes", Curves], None]


def draw_ledger(ax: Axes, curves: Curves) -> None:
    """Stacked shares of the groups by kind over the steps, each named in its area."""
    below = [0.0] * len(next(iter(curves.ledger.values())))
    steps = range(1, len(below) + 1)
    for kind, (name, colour, hatch) in KINDS.items():
        shares = smooth(curves.ledger[kind], _width(below))
        above = [a + b for a, b in zip(below, shares, strict=True)]
        style: dict[str, Any] = {
            "facecolor": colour,
            "alpha": 0.45,
            "hatch": hatch,
            "edgecolor": colour,
            "linewidth": 0,
        }
        ax.fill_between(steps, below, above, **style)
        ax.plot(steps, above, color=colour, linewidth=1)
        _name_area(ax, name, below, above)
        below = above
    ax.set(xlim=(1, max(2, len(below))), ylim=(0, 1), title="Groups of rollouts, under GRPO")
    _whole_steps(ax)
    as_percent(ax, decimals=0)


def _name_area(ax: Axes, name: str, below: list[float], above: list[float]) -> None:
    """Write the name where the area is tallest, away from the ends; nowhere if it is too thin."""
    margin = len(below) // 6
    inner = range(margin, max(margin + 1, len(below) - margin))
    at = max(inner, key=lambda i: above[i] - below[i])
    if above[at] - below[at] > 0.08:
        box = {"boxstyle": "round,pad=0.2", "facecolor": PAPER, "alpha": 0.85, "linewidth": 0}
        ax.text(at + 1, (above[at] + below[at]) / 2, name, ha="center", va="center", color=INK, bbox=box)


def draw_accuracy(ax: Axes, curves: Curves) -> None:
    """A dot with its 95 % interval for each arm, grouped by split."""
    splits, arms = list(curves.accuracy), list(curves.labels)
    for j, arm in enumerate(arms):
        xs = [i + (j - (len(arms) - 1) / 2) * 0.22 for i in range(len(splits))]
        bounds = [curves.accuracy[split][arm] for split in splits]
        values = [value for value, _, _ in bounds]
        errors = [[v - low for v, low, _ in bounds], [high - v for v, _, high in bounds]]
        style = {"color": ARM_COLOURS[arm], "marker": ARM_MARKERS[arm], "linestyle": "", "capsize": 3}
        ax.errorbar(xs, values, yerr=errors, label=curves.labels[arm], **style)
        for x, value, (_, _, high) in zip(xs, values, bounds, strict=True):
            ax.annotate(
                f"{value:.0%}", (x, high), (0, 3), textcoords="offset points", ha="center", fontsize=8, color=INK
            )
    ax.set(
        xticks=range(len(splits)),
        xticklabels=splits,
        xlim=(-0.6, len(splits) - 0.4),
        yticks=[0, 0.2, 0.4, 0.6, 0.8, 1],
        title="Accuracy in this one pair of runs",
    )
    ax.set_ylim(0, min(1.25, max(high for arm in curves.accuracy.values() for _, _, high in arm.values()) * 1.5))
    ax.legend(loc="upper right", borderaxespad=0.3, title="95 % intervals over prompts", title_fontsize=8.5)
    as_percent(ax, decimals=0)


def _draw_lines(ax: Axes, curves: Curves, values: Mapping[str, Sequence[float]], title: str) -> None:
    for arm, series in values.items():
        style = {"color": ARM_COLOURS[arm], "linestyle": ARM_LINES[arm]}
        ax.plot(range(1, len(series) + 1), smooth(series, _width(series)), label=curves.labels[arm], **style)
    ax.set(title=title)
    _whole_steps(ax)
    ax.margins(y=0.25)
    ax.legend(loc="best")


def draw_rewards(ax: Axes, curves: Curves) -> None:
    """Success of the training rollouts."""
    _draw_lines(ax, curves, curves.rewards, "Success of training rollouts")
    ax.set_ylim(0, 1)
    as_percent(ax, decimals=0)


def draw_lengths(ax: Axes, curves: Curves) -> None:
    """Tokens a training rollout."""
    _draw_lines(ax, curves, curves.lengths, "Response length, tokens")


def draw_entropies(ax: Axes, curves: Curves) -> None:
    """Mean token entropy of the training rollouts."""
    _draw_lines(ax, curves, curves.entropies, "Token entropy, nats")


PICTURE: tuple[Panel, ...] = (draw_ledger, draw_accuracy)
"""The panels of the PNG."""
PANELS: tuple[Panel, ...] = (*PICTURE, draw_rewards, draw_lengths, draw_entropies)
"""The panels of the page."""


def _width(values: Sequence[float]) -> int:
    """Steps that a curve is smoothed over: a tenth of the run."""
    return max(1, len(values) // 10)


def _whole_steps(ax: Axes) -> None:
    whole_numbers(ax)
    ax.set_xlabel("training step")


def write_png(curves: Curves, path: Path) -> None:
    """`PICTURE` side by side, on white."""
    path.write_bytes(draw([_with(panel, curves) for panel in PICTURE], size=(3.9, 3.1), suffix="png"))


def _with(panel: Panel, curves: Curves) -> Callable[[Axes], None]:
    return lambda ax: panel(ax, curves)


def panel_svg(panel: Panel, curves: Curves) -> str:
    """One panel as an `<svg>` element without URLs; its text is `currentColor`, its colours the page's variables."""
    drawn = draw([_with(panel, curves)], size=(4.4, 3.1), suffix="svg").decode()
    return embeddable(drawn, title=str(panel.__doc__).splitlines()[0])
