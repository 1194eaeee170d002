"""Accepted shares by form and mutation, as rows and as a table, and the list of a grader's errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.graders.columns import Outcome
from benchmarks.graders.wrong import Case

Row = dict[str, object]
Outcomes = Mapping[str, Sequence[Outcome]]


def rows_of(cases: Sequence[Case], outcomes: Outcomes) -> list[Row]:
    """A row for each form or mutation: the number of cases, and of those that each grader accepted."""
    kinds: dict[tuple[str, str, str], list[int]] = {}
    for i, case in enumerate(cases):
        kinds.setdefault((case.grader, case.family, case.kind), []).append(i)
    return [
        {"grader": grader, "family": family, "kind": kind, "cases": len(places), **_accepted(places, outcomes)}
        for (grader, family, kind), places in kinds.items()
    ]


def totals_of(cases: Sequence[Case], outcomes: Outcomes) -> list[Row]:
    """A row for each family of forms or mutations."""
    families: dict[tuple[str, str], list[int]] = {}
    for i, case in enumerate(cases):
        families.setdefault((case.grader, case.family), []).append(i)
    return [
        {"grader": grader, "family": family, "kind": "all", "cases": len(places), **_accepted(places, outcomes)}
        for (grader, family), places in families.items()
    ]


def _accepted(places: Sequence[int], outcomes: Outcomes) -> Row:
    row: Row = {}
    for name, column in outcomes.items():
        row[name] = sum(column[i].accepted for i in places)
        row[f"{name} timeouts"] = sum(column[i].note == "timeout" for i in places)
        row[f"{name} errors"] = sum(column[i].note.startswith("error") for i in places)
    return row


def text_of_rows(rows: Sequence[Row], names: Sequence[str]) -> str:
    """The rows as a table in text: the share that each grader accepted, and its time-outs and errors."""
    head = ["grader", "family", "kind", "cases", *names]
    lines = [head] + [[str(row[key]) for key in head[:4]] + [_share(row, name) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def _share(row: Row, name: str) -> str:
    accepted, cases = int(str(row[name])), int(str(row["cases"]))
    extras = [f"{row[f'{name} {kind}']} {kind}" for kind in ("timeouts", "errors") if row[f"{name} {kind}"]]
    return f"{accepted} ({accepted / cases:.1%})" + (f", {', '.join(extras)}" if extras else "")


def errors_of(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> Iterator[Row]:
    """The cases with a wrong score, as rows with the score and the grader's note."""
    for case, outcome in zip(cases, outcomes, strict=True):
        if outcome.accepted != case.right:
            yield {
                "grader": case.grader,
                "family": case.family,
                "kind": case.kind,
                "reference_answer": case.reference_answer,
                "answer": case.answer,
                "right_score": float(case.right),
                "score": outcome.score,
                "note": outcome.note,
            }


def text_of_errors(errors: Sequence[Row], show: int) -> str:
    """Text with at most `show` errors of each kind, one a line."""
    lines, shown = [], dict.fromkeys([(row["grader"], row["family"], row["kind"]) for row in errors], 0)
    for row in errors:
        key = (row["grader"], row["family"], row["kind"])
        shown[key] += 1
        if shown[key] <= show:
            result = str(row["note"]) or f"score {row['score']:g}"
            answers = f"reference answer {row['reference_answer']!r}, answer {row['answer']!r}"
            lines.append(f"{', '.join(map(str, key))}: {answers}: {result}")
    return "\n".join(lines)


def write_errors(path: Path, errors: Sequence[Row]) -> None:
    """Write the errors to a file of JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in errors), encoding="utf-8")
