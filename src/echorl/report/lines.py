"""Line plots of an analysis: its curves with their intervals as bands, side by side, as PNG or SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.report.plots import BLUE, GREEN, GREY, ORANGE, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = ((ORANGE, "D", "-"), (BLUE, "o", (0, (4, 1.5))), (GREY, "s", (0, (1, 1))), (GREEN, "^", "-."))
"""Colour, marker and dashes of a plot's first, second, ... line."""
A_ROW = 3
Curve = Mapping[str, Any]
"""{"title", "x_label", "y_label", "lines": [{"label", "x", "y", "low", "high"}]}; low and high None, or None inside."""


def write_lines(curves: Sequence[Curve], path: Path) -> None:
    """Each curve in a panel of its own, three in a row; the suffix of `path` chooses PNG or SVG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(A_ROW, len(curves))
    rows = -(-len(curves) // columns)
    style: Any = STYLE
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.9 * columns, 3.1 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for ax, curve in zip(panels, curves, strict=False):
            draw_lines(ax, curve)
        for ax in list(panels):
            ax.set_visible(False)
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=160, facecolor="white", metadata=metadata)


def draw_lines(ax: Axes, curve: Curve) -> None:
    """One panel; a band where a line has bounds."""
    for line, (colour, marker, dashes) in zip(curve["lines"], LOOKS, strict=False):
        ax.plot(
            line["x"], line["y"], color=colour, marker=marker, markersize=3.5, linestyle=dashes, label=line["label"]
        )
        if line["low"] is not None and None not in line["low"]:
            ax.fill_between(line["x"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
    ax.set(title=curve["title"], xlabel=curve["x_label"], ylabel=curve["y_label"])
    ax.legend(loc="best")
