"""The tables of `echorl eval`: drawn in a terminal, aligned columns elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.evaluate.store import RESULTS
from echorl.lab.evaluate.table import HEAD, average_name, interval, percent, results_rows
from echorl.tasks.verify.base import NO_ANSWER

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 100
"""Characters that a terminal needs for a table with room between its columns; 80 are enough for one without."""


def show_results(results: Mapping[str, Any], folder: Path) -> None:
    """Print a row a benchmark, and the averages."""
    print_table(f"{results['model']}, in %", HEAD, results_rows(results))
    for name, row in results["benchmarks"].items():
        if reasons := _not_compared(row):
            print(f"{name}: scored 0 without having been compared: {reasons}")
    print(f"samples: {folder / 'samples'}  numbers: {folder / RESULTS}")


def _not_compared(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items() if reason != NO_ANSWER)


def show_contrast(found: Mapping[str, Any], first: Path, second: Path) -> None:
    """Print a row a benchmark and measure, and the averages."""
    head = ["benchmark", "measure", "A", "B", "B - A", "95 %"]
    measures = [(name, *each) for name, own in found["benchmarks"].items() for each in own["measures"].items()]
    cells = [([name, measure, percent(row["first"]), percent(row["second"])], row) for name, measure, row in measures]
    cells += [([average_name(kind, row), "avg@k", "", ""], row) for kind, row in found["averages"].items()]
    rows = [[*own, f"{100 * row['value']:+.1f}", interval(row, "+")] for own, row in cells]
    print_table(f"A = {first}, B = {second}, in %", head, rows)
    if same := [f"{own[0]} {own[1]}" for own, row in cells if row["no_spread"]]:
        print(f"no width ({', '.join(same)}): all items differ by the same, so a bootstrap can't tell how sure that is")


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, the first to the left. Columns without any value are left out."""
    from rich.console import Console

    filled = [i for i in range(len(head)) if any(row[i] for row in rows)]
    head, rows = [head[i] for i in filled], [[row[i] for i in filled] for row in rows]
    console = Console()
    if console.is_terminal:
        console.print(_drawn(title, head, rows, wide=console.width > WIDE))
    else:
        print(_plain(title, head, rows))


def _drawn(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, wide: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    padding = (0, 1) if wide else (0, 0)
    table = Table(
        title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=padding
    )
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left", min_width=max(map(len, [row[i] for row in rows])))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _plain(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [title]
    for row in [head, *rows]:
        cells = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
