"""Scores of what the policy writes behind a text that it was given: the engine doesn't know where that text began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from echorl.evaluate import grading
from echorl.evaluate.benchmarks import Item
from echorl.evaluate.store import Rows

if TYPE_CHECKING:
    from echorl.analysis.golden.run import Plan
    from echorl.processes import View


def score_behind(
    rows: Rows, items: Sequence[Item], before: Mapping[str, str], plan: Plan, view: View, what: str
) -> tuple[Rows, list[str]]:
    """The rows scored anew with `before` (item's id -> text) in front of what was written; and what was written.

    An engine puts `<think>` in front where the prompt ends so, which it doesn't once a step of the thinking follows.
    """
    put = {item.id: plan.checkpoint.opening(item) for item in items}
    texts = [row["response"].removeprefix(put[row["item"]]) for row in rows]
    whole = [{**row, "response": before[row["item"]] + text} for row, text in zip(rows, texts, strict=True)]
    benchmark = plan.source.benchmark
    show = view.begin(f"{benchmark.name}: {what}", len(rows))
    return grading.score(whole, grading.golds_of(whole, items), benchmark.get_grader(), show), texts


def verdicts_behind(
    rows: Rows, items: Sequence[Item], begun: Mapping[str, str], plan: Plan, view: View
) -> dict[str, list[bool]]:
    """Item's id -> the verdicts on what was written, with `begun` (item's id -> text) in front of it."""
    if any(begun.values()):
        rows, _ = score_behind(rows, items, begun, plan, view, "scoring behind open thinking")
    found: dict[str, list[bool]] = {}
    for row in rows:
        found.setdefault(row["item"], []).append(row["score"] >= 1)
    return found
