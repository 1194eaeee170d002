"""Notes of a study, the text beside its numbers: introduction, findings, cells of the summary, further tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from echorl.lab.checked import Each, check

TABLE = {"title": str, "head": [str], "rows": [[str]], "note?": str}
SHAPE = {
    "title?": str, "about?": str, "findings?": [str], "arms?": Each(Each(str)), "note?": str, "tables?": [TABLE],
}  # fmt: skip


def check_notes(notes: Any, arms: Iterable[str]) -> None:
    """Check the shape of a study's notes, and that they name its arms.

    Raises:
        ValueError: the shape or an arm is wrong; the message names the place.
    """
    try:
        check(notes, SHAPE, "notes")
    except ValueError as error:
        raise ValueError(
            f"{error}: notes are {{title: TEXT, about: TEXT, findings: [TEXT], arms: {{ARM: {{HEADING: TEXT}}}}, "
            "note: TEXT, tables: [...]}."
        ) from None
    if unknown := [name for name in notes if f"{name}?" not in SHAPE]:
        raise ValueError(f"notes has no {unknown[0]!r}: it has {', '.join(name[:-1] for name in SHAPE)}.")
    if unknown := [arm for arm in notes.get("arms", {}) if arm not in set(arms)]:
        raise ValueError(f"notes: {unknown[0]!r} is no arm: choose one of {', '.join(arms)}.")
    for table in notes.get("tables", []):
        if not table["head"] or any(len(row) != len(table["head"]) for row in table["rows"]):
            raise ValueError(
                f"notes: the table {table['title']!r} has an empty head, or a row of another length than its head."
            )


def headings(notes: Mapping[str, Any]) -> list[str]:
    """Return the headings of the arms' cells, each once, in the order in which they first occur.

    >>> headings({"arms": {"a": {"costs": "none"}, "b": {"claim": "2 points", "costs": "none"}}})
    ['costs', 'claim']
    """
    return list(dict.fromkeys(heading for cells in notes.get("arms", {}).values() for heading in cells))


def cells(notes: Mapping[str, Any], arm: str) -> Sequence[str]:
    """Return the arm's cells, one for each of `headings`; "" where the notes have none."""
    texts = notes.get("arms", {}).get(arm, {})
    return [" ".join(texts.get(heading, "").split()) for heading in headings(notes)]
