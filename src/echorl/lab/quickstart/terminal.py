"""The quickstart's tables in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from echorl.lab.quickstart.draw import make_tables
from echorl.lab.quickstart.summary import findings
from echorl.lab.report.page import Table


def show(summary: dict[str, Any], output: Path, seconds: float) -> None:
    """Tables, findings, and where the page is."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=118)
    for table in make_tables(summary):
        console.print(_drawn(table))
        if table.note:
            console.print(f"{table.note}\n", style="dim", markup=False, highlight=False)
    for text in findings(summary):
        console.print(f"• {text}", markup=False, highlight=False)
    page = output / "index.html"
    console.print(f"\nDone in {seconds / 60:.1f} min. Page: {page}  Picture: {output / 'quickstart.png'}", markup=False)


def _drawn(table: Table) -> rich.table.Table:
    drawn = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
    for i, name in enumerate(table.head):
        drawn.add_column(name, justify="right" if i else "left")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn
