"""EchoClips as a picture: a rollout's tokens shaded by entropy, the clip framed, its last step bold."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.report.gallery import EDGES, Exhibit
from echorl.lab.report.plots import INK, ORANGE
from echorl.support.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 74
"""Characters of a line."""
LINE_INCHES, CHARACTER_INCHES = 0.24, 0.105
SHADES = ("#ffffff", "#eef5fb", "#dceaf7", "#c3dcf0", "#9fc8e6", "#74afd8", "#4793c6", "#1f78b4")
"""The colour of each level of `gallery.level_of`."""
TITLES = {"all_success": "all rollouts right", "mixed": "some rollouts wrong"}


@dataclass(frozen=True)
class Piece:
    """A character: its place, and the level and clip that decide how it is drawn."""

    line: int
    column: int
    text: str
    level: int
    in_clip: bool
    ends_clip: bool


def lay_out(exhibit: Exhibit) -> list[Piece]:
    """Return the characters of the clip's rollout in lines of `COLUMNS`, with a sign for each newline."""
    pieces: list[Piece] = []
    line = column = 0
    for step in exhibit.winner.steps:
        for token in step.tokens:
            for character in "·" if token.special else token.text.replace("\n", "⏎"):
                if column >= COLUMNS:
                    line, column = line + 1, 0
                pieces.append(Piece(line, column, character, token.level, step.in_clip, step.ends_clip))
                column += 1
                if character == "⏎":
                    line, column = line + 1, 0
    return pieces


def write_clips_png(exhibits: Sequence[Exhibit], path: Path) -> None:
    """Write a picture of one or more exhibits, one below another, in one move."""
    from matplotlib.figure import Figure

    heights = [_num_lines(exhibit) for exhibit in exhibits]
    figure = Figure(figsize=(COLUMNS * CHARACTER_INCHES + 0.4, sum(heights) * LINE_INCHES + 0.3), dpi=150)
    axes = figure.subplots(len(exhibits), 1, squeeze=False, gridspec_kw={"height_ratios": heights, "hspace": 0.02})
    figure.subplots_adjust(left=0.02, right=0.98, top=0.99, bottom=0.01)
    for ax, exhibit in zip(axes[:, 0], exhibits, strict=True):
        draw_clip(ax, exhibit)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png", facecolor="white")


def _question(exhibit: Exhibit) -> list[str]:
    return textwrap.wrap(exhibit.prompt.split("\n\n")[0].removeprefix("user: "), COLUMNS)


def _num_lines(exhibit: Exhibit) -> int:
    return len(_question(exhibit)) + lay_out(exhibit)[-1].line + 4


def draw_clip(ax: Axes, exhibit: Exhibit) -> None:
    """Draw title, question and rollout on the axes."""
    question, pieces = _question(exhibit), lay_out(exhibit)
    ax.set_xlim(0, COLUMNS)
    ax.set_ylim(_num_lines(exhibit), 0)
    ax.axis("off")
    kind = TITLES.get(exhibit.kind, exhibit.kind)
    clip = f"clip of {exhibit.clip_tokens} tokens, its last step {exhibit.clip_entropy:.2f} nats"
    font: dict[str, Any] = {"color": INK, "fontsize": 9, "va": "center"}
    ax.text(0, 0.5, f"Step {exhibit.training_step + 1}, {kind}: {clip}", weight="bold", **font)
    for number, text in enumerate(question, 1):
        ax.text(0, number + 0.5, text, style="italic", **font)
    for piece in pieces:
        _draw_piece(ax, piece, top=len(question) + 1.4)
    _draw_frame(ax, pieces, top=len(question) + 1.4)


def _draw_piece(ax: Axes, piece: Piece, *, top: float) -> None:
    from matplotlib.patches import Rectangle

    y = top + piece.line
    ax.add_patch(Rectangle((piece.column, y), 1, 0.92, facecolor=SHADES[min(piece.level, len(EDGES))], linewidth=0))
    font: dict[str, Any] = {"family": "monospace", "fontsize": 9, "ha": "center", "va": "center"}
    font["color"] = "#ffffff" if piece.level >= len(EDGES) - 1 else INK
    font["weight"] = "bold" if piece.ends_clip else "normal"
    ax.text(piece.column + 0.5, y + 0.48, piece.text.replace("$", r"\$"), **font)


def _draw_frame(ax: Axes, pieces: Sequence[Piece], *, top: float) -> None:
    """Draw a box around the clip's part of each line."""
    from matplotlib.patches import Rectangle

    for line in sorted({piece.line for piece in pieces if piece.in_clip}):
        columns = [piece.column for piece in pieces if piece.line == line and piece.in_clip]
        width = max(columns) - min(columns) + 1
        box = Rectangle((min(columns), top + line), width, 0.92, fill=False, edgecolor=ORANGE, linewidth=1.4)
        ax.add_patch(box)
