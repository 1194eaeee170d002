"""Results of an evaluation as the rows of a table, for the terminal and for a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echorl.lab.evaluate.summary import DISTRIBUTIONS

HEAD = ["benchmark", "items", "k", "avg@k", "95 %", "pass@k", "maj@k", "tokens", "cut off", "no answer"]


def results_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """Return a row a benchmark and a row an average, with the columns of `HEAD`, in %."""
    rows = [_row(name, row) for name, row in results["benchmarks"].items()]
    for kind, row in results["averages"].items():
        rows.append([average_name(kind, row), "", "", percent(row["value"]), interval(row), *[""] * (len(HEAD) - 5)])
    return rows


def measures_of(k: int) -> list[str]:
    """Return the measures of k samples an item that a table shows, such as avg@6, pass@4, maj@6."""
    return [f"avg@{k}", f"pass@{_largest_power(k)}", *([f"maj@{k}"] if k > 1 else [])]


def _largest_power(k: int) -> int:
    """Return the largest power of two up to k."""
    return 1 << (max(1, k).bit_length() - 1)


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    k, power = row["samples"], _largest_power(row["samples"])
    average, best, *majority = (row["measures"][name] for name in measures_of(k))
    return [
        name,
        str(row["items"]),
        str(k),
        percent(average["value"]),
        interval(average),
        percent(best["value"]) + ("" if power == k else f" (k={power})") if k > 1 else "",
        percent(majority[0]["value"]) if majority else "",
        f"{row['mean_tokens']:.0f}",
        percent(row["truncated"]),
        percent(row["no_answer"]),
    ]


def average_name(kind: str, row: Mapping[str, Any]) -> str:
    """Return the label of an average, such as `ID average (6)`."""
    return f"{DISTRIBUTIONS[kind]} average ({len(row['benchmarks'])})"


def percent(value: float) -> str:
    """Return a share in per cent, without the sign."""
    return f"{100 * value:.1f}"


def interval(row: Mapping[str, Any], sign: str = "") -> str:
    """Return an interval in per cent, such as `[40.1, 46.3]`; "" where there is none."""
    if row["low"] is None or row["high"] is None:
        return ""
    return f"[{100 * row['low']:{sign}.1f}, {100 * row['high']:{sign}.1f}]"
