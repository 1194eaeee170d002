"""`echorl compare` as one table for a practitioner: what each arm takes and brings, and what the study says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echorl.lab.compare.notes import cells, headings
from echorl.lab.compare.table import number
from echorl.lab.report.page import Table

PASS = "pass@1, %"
"""The measure of results.json whose differences are shown."""
SHOWN = 0.05
"""A p-value, after Holm's correction, below which a difference is called one."""
NOTE = (
    "Points of pass@1 with 95 % intervals over seeds, paired with the arm under 'less'. A star: p < 0.05 after Holm's "
    "correction over the arms of the column."
)


def verdict_table(results: Mapping[str, Any]) -> Table | None:
    """A row an arm, from results.json; None where there is no pass@1, or one seed."""
    tests, notes, parts = results["tests"], results.get("notes") or {}, parts_of(results)
    if not parts or PASS not in tests[parts[0]]:
        return None
    first = tests[parts[0]][PASS]
    if all(row["difference"] is None for row in first.values()):
        return None
    head = ["arm", "less", *headings(notes), "updates", "minutes", *parts]
    note = " ".join([NOTE, notes["note"]] if "note" in notes else [NOTE])
    return Table("Summary", head, [_row(arm, results, parts) for arm in first], note)


def note_tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables that the study's notes have."""
    tables = (results.get("notes") or {}).get("tables", [])
    return [Table(table["title"], table["head"], table["rows"], table.get("note", "")) for table in tables]


def parts_of(results: Mapping[str, Any]) -> list[str]:
    """The averages over tests, or where there are none the tests."""
    return results.get("averages") or [name for name in results["tests"] if name != "training"]


def _row(arm: str, results: Mapping[str, Any], parts: list[str]) -> list[str]:
    tests = results["tests"]
    rows = [tests[part][PASS][arm] for part in parts]
    return [
        arm,
        rows[0].get("reference") or "",
        *cells(results.get("notes") or {}, arm),
        *(_mean(tests.get("training", {}), name, arm) for name in ("updates", "minutes")),
        *map(_difference, rows),
    ]


def _mean(training: Mapping[str, Any], measure: str, arm: str) -> str:
    return number(training[measure][arm]["mean"], ".3g") if measure in training else ""


def _difference(row: Mapping[str, Any]) -> str:
    found = row["difference"]
    if found is None:
        return f"{row['mean']:.1f} %"
    star = "*" if row.get("holm") is not None and row["holm"] < SHOWN else ""
    return f"{_points(found['value'])} [{_points(found['low'])}, {_points(found['high'])}]{star}"


def _points(value: float) -> str:
    """One decimal, or two where one would hide the sign.

    >>> [_points(value) for value in (1.24, -0.03, 0.001)]
    ['+1.2', '-0.03', '0.0']
    """
    for form in ("+.1f", "+.2f"):
        if float(text := format(value, form)):
            return text
    return "0.0"
