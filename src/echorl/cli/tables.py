"""Tables and paragraphs that commands print: drawn in a terminal, aligned columns elsewhere."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from echorl.support.visible import visible

WIDE = 100
"""Characters that a terminal needs for a table with room between its columns; 80 are enough for one without."""
LEAST_WIDTH = 8
"""Characters that a column of broken cells must have."""


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table without the columns that are empty in every row; the first column is aligned to the left."""
    filled = [i for i in range(len(head)) if any(row[i] for row in rows)]
    head, rows = [head[i] for i in filled], [[row[i] for i in filled] for row in rows]
    console = Console()
    if console.is_terminal:
        console.print(_drawn(title, head, rows, console.width))
    else:
        print(_plain(title, head, rows))


def in_terminal() -> bool:
    """Return whether `print_table` draws."""
    return Console().is_terminal


def print_paragraph(text: str) -> None:
    """Print a text in lines of at most 80 characters, or of the terminal's width; a number stays beside its `%`."""
    width = min(80, Console().width)
    lines = textwrap.wrap(visible(text).replace(" %", "\u00a0%"), width, break_long_words=False, break_on_hyphens=False)
    print("\n".join(lines).replace("\u00a0%", " %"))


def _drawn(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Table:
    """Return the table; where it is too wide heads are broken into lines, and if need be cells, too."""
    padding = (0, 1) if width > WIDE else (0, 0)
    table = Table(
        title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=padding
    )
    columns = [[row[i] for row in rows] for i in range(len(head))]
    widths = [max(map(len, [*name.split(), *cells]), default=0) for name, cells in zip(head, columns, strict=True)]
    room = width - sum(widths) - len(widths) * (1 + 2 * padding[1])
    breakable = [room < 0 and any(" " in cell for cell in cells) for cells in columns]
    room += sum(itertools.compress(widths, breakable))
    is_narrow = room < LEAST_WIDTH * sum(breakable)  # then rich breaks words
    for i, name in enumerate(head):
        is_free = is_narrow or breakable[i]
        width_if_fixed = None if is_free else widths[i]
        table.add_column(name, justify="right" if i else "left", width=width_if_fixed, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _plain(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(cells)).rstrip()
        for cells in (zip(row, widths, strict=True) for row in [head, *rows])
    ]
    return "\n".join([title, *lines])
