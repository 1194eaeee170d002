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

    questions = [textwrap.wrap(each.prompt.split("\n\n")[0].removeprefix("user: "), COLUMNS) for each in exhibits]
    rollouts = [lay_out(exhibit) for exhibit in exhibits]
    heights = [len(text) + pieces[-1].line + 4 for text, pieces in zip(questions, rollouts, strict=True)]
    figure = Figure(figsize=(COLUMNS * CHARACTER_INCHES + 0.4, sum(heights) * LINE_INCHES + 0.3), dpi=150)
    axes = figure.subplots(len(exhibits), 1, squeeze=False, gridspec_kw={"height_ratios": heights, "hspace": 0.02})
    figure.subplots_adjust(left=0.02, right=0.98, top=0.99, bottom=0.01)
    for ax, exhibit, question, pieces, height in zip(axes[:, 0], exhibits, questions, rollouts, heights, strict=True):
        ax.set(xlim=(0, COLUMNS), ylim=(height, 0))
        ax.axis("off")
        _draw_head(ax, exhibit, question)
        _draw_rollout(ax, pieces, top=len(question) + 1.4)
    with replacing(path) as scratch:
        figure.savefig(scratch, format="png", facecolor="white")


def _draw_head(ax: Axes, exhibit: Exhibit, question: Sequence[str]) -> None:
    kind = TITLES.get(exhibit.kind, exhibit.kind)
    clip = f"clip of {exhibit.clip_tokens} tokens, its last step {exhibit.clip_entropy:.2f} nats"
    font: dict[str, Any] = {"color": INK, "fontsize": 9, "va": "center"}
    ax.text(0, 0.5, f"Step {exhibit.training_step}, {kind}: {clip}", weight="bold", **font)
    for number, text in enumerate(question, 1):
        ax.text(0, number + 0.5, text, style="italic", **font)


def _draw_rollout(ax: Axes, pieces: Sequence[Piece], *, top: float) -> None:
    """Draw the characters on their shades, and a box around the clip's part of each line."""
    from matplotlib.patches import Rectangle

    for piece in pieces:
        y, shade = top + piece.line, SHADES[min(piece.level, len(EDGES))]
        ax.add_patch(Rectangle((piece.column, y), 1, 0.92, facecolor=shade, linewidth=0))
        font: dict[str, Any] = {"family": "monospace", "fontsize": 9, "ha": "center", "va": "center"}
        font["color"] = "#ffffff" if piece.level >= len(EDGES) - 1 else INK
        font["weight"] = "bold" if piece.ends_clip else "normal"
        ax.text(piece.column + 0.5, y + 0.48, piece.text.replace("$", r"\$"), **font)
    clip = [piece for piece in pieces if piece.in_clip]
    for line in {piece.line for piece in clip}:
        columns = [piece.column for piece in clip if piece.line == line]
        width = max(columns) - min(columns) + 1
        corner = (min(columns), top + line)
        ax.add_patch(Rectangle(corner, width, 0.92, fill=False, edgecolor=ORANGE, linewidth=1.4))
