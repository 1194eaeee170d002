"""Parts of all plots: colours and style, panels side by side as a PNG or an SVG, and an SVG as a part of a page."""

from __future__ import annotations

import io
import re
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8c8c8c"
PURPLE, SKY, AMBER = "#cc79a7", "#56b4e9", "#e69f00"
"""Okabe and Ito's colours, which differ under every common colour blindness, and a grey."""
INK, PAPER = "#1f2328", "#fefefe"
"""Colours of text and of the area under it; an SVG has those of the page."""
LETTERS_AN_INCH = 10
"""Letters of a chart's title that surely fit, with the axis beside it."""


def colour_of(look: int) -> str:
    """Return the colour of a line with this look."""
    return COLOURS[COLOUR_NAMES[look % len(COLOUR_NAMES)]]


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Return a centred running mean over `width` values, over fewer at the ends.

    >>> smooth([0.0, 3.0, 0.0, 3.0], 3)
    [1.5, 1.0, 2.0, 1.5]
    """
    half = width // 2
    windows = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def whole_numbers(ax: Axes) -> None:
    """Set at most six ticks on the x axis, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def plain_text(text: str) -> str:
    """Return the text, not read as mathematics; a leading underscore would hide a label from the legend."""
    return re.sub(r"^_", "\u2009_", text.replace("$", r"\$"))


def wrapped(title: str, size: tuple[float, float]) -> str:
    """Return the title of a chart of this size in inches, on as many lines as its width needs."""
    return plain_text(textwrap.fill(title, int(LETTERS_AN_INCH * size[0]), break_on_hyphens=False))


STYLE: dict[Any, Any] = {  # matplotlib's type of the keys is a list of all its settings
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "echorl",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def draw(panels: Sequence[Callable[[Axes], None]], *, size: tuple[float, float], suffix: str) -> bytes:
    """Return the panels side by side, each of this size in inches, as a "png" on white or a transparent "svg"."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser of a page has such fonts
        figure = Figure(figsize=(size[0] * len(panels), size[1]), layout="constrained")
        FigureCanvasAgg(figure)
        for ax, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel(ax)
        if suffix == "svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
        else:
            figure.savefig(buffer, format=suffix, dpi=160, facecolor="white")
    return buffer.getvalue()


COLOUR_NAMES = ("blue", "orange", "green", "purple", "sky", "amber", "grey")
"""Colours of lines, by their names in the page's style."""
DASHES = ((), (5, 1.5), (1.5, 1.5), (7, 1.5, 1.5, 1.5))
"""Dashes of lines, on and off in points; with seven colours, 28 looks before the first one returns."""
COLOURS = {
    "blue": BLUE,
    "orange": ORANGE,
    "green": GREEN,
    "grey": GREY,
    "purple": PURPLE,
    "sky": SKY,
    "amber": AMBER,
    "card": PAPER,
}
"""Variable of a page's style -> its colour."""
