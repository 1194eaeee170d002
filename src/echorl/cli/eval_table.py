"""The tables of `echorl eval`: drawn in a terminal, aligned columns elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.evaluate.store import RESULTS
from echorl.evaluate.summary import DISTRIBUTIONS
from echorl.tasks.verify.base import NO_ANSWER

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 100
"""Characters that a terminal needs for a table with room between its columns; 80 are enough for one without."""
HEAD = ["benchmark", "items", "k", "avg@k", "95 %", "pass@k", "maj@k", "tokens", "cut off", "no answer"]


def show_results(results: Mapping[str, Any], folder: Path) -> None:
    """Print a row a benchmark, and the averages."""
    rows = [_row(name, row) for name, row in results["benchmarks"].items()]
    for kind, row in results["averages"].items():
        rows.append([_average(kind, row), "", "", _percent(row["value"]), _interval(row), *[""] * (len(HEAD) - 5)])
    print_table(f"{results['model']}, in %", HEAD, rows)
    for name, row in results["benchmarks"].items():
        if reasons := _not_compared(row):
            print(f"{name}: scored 0 without having been compared: {reasons}")
    print(f"samples: {folder / 'samples'}  numbers: {folder / RESULTS}")


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    k, measures = row["samples"], row["measures"]
    best = measures[f"pass@{1 << (k.bit_length() - 1)}"]
    average = measures[f"avg@{k}"]
    return [
        name,
        str(row["items"]),
        str(k),
        _percent(average["value"]),
        _interval(average),
        _percent(best["value"]) if k > 1 else "",
        _percent(measures[f"maj@{k}"]["value"]) if k > 1 else "",
        f"{row['mean_tokens']:.0f}",
        _percent(row["truncated"]),
        _percent(row["no_answer"]),
    ]


def _not_compared(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items() if reason != NO_ANSWER)


def show_contrast(found: Mapping[str, Any], first: Path, second: Path) -> None:
    """Print a row a benchmark and measure, and the averages."""
    head = ["benchmark", "measure", "A", "B", "B - A", "95 %"]
    rows = []
    for name, benchmark in found["benchmarks"].items():
        for measure, row in benchmark["measures"].items():
            means = [_percent(row["first"]), _percent(row["second"])]
            rows.append([name, measure, *means, f"{100 * row['value']:+.1f}", _interval(row, "+")])
    for kind, row in found["averages"].items():
        rows.append([_average(kind, row), "avg@k", "", "", f"{100 * row['value']:+.1f}", _interval(row, "+")])
    print_table(f"A = {first}, B = {second}, in %", head, rows)


def _average(kind: str, row: Mapping[str, Any]) -> str:
    return f"{DISTRIBUTIONS[kind]} average ({len(row['benchmarks'])})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(row: Mapping[str, Any], sign: str = "") -> str:
    if row["low"] is None:
        return ""
    return f"[{100 * row['low']:{sign}.1f}, {100 * row['high']:{sign}.1f}]"


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
