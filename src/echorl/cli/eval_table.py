"""The tables of `echorl eval`: drawn in a terminal, aligned columns elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echorl.evaluate.store import RESULTS
from echorl.evaluate.summary import DISTRIBUTIONS
from echorl.tasks.verify.base import NO_ANSWER

HEAD = ["benchmark", "items", "k", "avg@k", "95 %", "pass@k", "maj@k", "tokens", "cut off", "no answer", "not scored"]


def show_results(results: Mapping[str, Any], folder: Path) -> None:
    """Print a row a benchmark, and the averages."""
    rows = [_row(name, row) for name, row in results["benchmarks"].items()]
    for kind, row in results["averages"].items():
        name = f"{DISTRIBUTIONS[kind]} ({len(row['benchmarks'])})"
        rows.append([name, "", "", _percent(row["value"]), _interval(row), *[""] * (len(HEAD) - 5)])
    _print_table(f"{results['model']}, in %", HEAD, rows)
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
        ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items() if reason != NO_ANSWER),
    ]


def show_contrast(found: Mapping[str, Any], first: Path, second: Path) -> None:
    """Print a row a benchmark and measure, and the averages."""
    head = ["benchmark", "measure", "A", "B", "B - A", "95 %"]
    rows = []
    for name, benchmark in found["benchmarks"].items():
        for measure, row in benchmark["measures"].items():
            means = [_percent(row["first"]), _percent(row["second"])]
            rows.append([name, measure, *means, f"{100 * row['value']:+.1f}", _interval(row, "+")])
    for kind, row in found["averages"].items():
        name = f"{DISTRIBUTIONS[kind]} ({len(row['benchmarks'])})"
        rows.append([name, "avg@k", "", "", f"{100 * row['value']:+.1f}", _interval(row, "+")])
    _print_table(f"A = {first}, B = {second}, in %", head, rows)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(row: Mapping[str, Any], sign: str = "") -> str:
    if row["low"] is None:
        return ""
    return f"[{100 * row['low']:{sign}.1f}, {100 * row['high']:{sign}.1f}]"


def _print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        print(_plain(title, head, rows))
        return
    table = Table(title=Text(title, "bold"), title_justify="left")
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _plain(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *rows]
    ]
    return "\n".join([title, *map(str.rstrip, lines)])
