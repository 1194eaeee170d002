"""The quickstart's tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from echorl.quickstart.draw import ARM_HEAD, NOTE
from echorl.quickstart.study import LABELS
from echorl.quickstart.summary import accuracy_rows, behaviour_rows, findings, training_rows


def show(summary: dict[str, Any], output: Path, seconds: float) -> None:
    """Tables, findings, and where the page is."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=118)
    console.print(_table("Held-out prompts", ["", *LABELS.values(), "difference"], accuracy_rows(summary)))
    console.print(f"[dim]{NOTE.replace('[', chr(92) + '[')}[/dim]\n")
    console.print(_table("How the answers changed", ["", *LABELS.values()], [r[:-1] for r in behaviour_rows(summary)]))
    console.print(_table("What training saw", ["", *ARM_HEAD], training_rows(summary)))
    for text in findings(summary):
        console.print(f"• {text}", markup=False, highlight=False)
    page = output / "index.html"
    console.print(f"\nDone in {seconds / 60:.1f} min. Page: {page}  Picture: {output / 'quickstart.png'}", markup=False)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    return table
