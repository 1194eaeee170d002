"""`echorl analyze forks`: draw a step again, let the policy finish each draw, and see how much the step decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echorl.analysis.golden import fork_report
from echorl.analysis.golden.deletion import opening_text
from echorl.analysis.golden.fork_report import Point
from echorl.analysis.golden.forks import Fork, find_forks, first_step, variance_parts
from echorl.analysis.golden.run import Loaders, Plan, fixed, sample_and_judge, score_all, write_result
from echorl.analysis.golden.traces import EXPERT
from echorl.core.steps import StepDelimiters
from echorl.evaluate.benchmarks import Item
from echorl.evaluate.loading import tokenizer_of
from echorl.processes import View

Draw = tuple[str, bool]
"""A completion's text and its verdict."""


def analyze_forks(folder: Path, plan: Plan, load: Loaders, view: View) -> dict[str, Any]:
    """Fork the policy's own rollouts at their steps of highest and lowest entropy; what an earlier call left is used.

    Returns:
        What is written to the folder's forks.json.

    Raises:
        ValueError: no rollout has two steps before its answer, or the folder holds something else.
    """
    if not plan.source.graded:
        raise ValueError("forks judges what the policy writes: name a --grader for the file's answers.")
    traces, scores, settings = score_all(folder, plan, load, view)
    own = [(trace, score) for trace, score in zip(traces, scores, strict=True) if trace.kind != EXPERT and score]
    found = [find_forks(trace, score) for trace, score in own]
    forks = [fork for pair in found for fork in pair]
    if not forks:
        raise ValueError(
            "no rollout has two steps before its answer: take prompts that are solved in steps, one a line."
        )
    points = _points(forks, folder, plan, load, view)
    settings = {**settings, "variants": plan.variants, "finishes": plan.finishes}
    head = {"echorl": "analyze forks", "model": plan.checkpoint.name, "settings": settings}
    sizes = {"rollouts": len(own), "with_fewer_than_two_steps": sum(not pair for pair in found)}
    return write_result(folder / "forks.json", {**head, **fork_report.report(points, sizes)})


def _points(forks: Sequence[Fork], folder: Path, plan: Plan, load: Loaders, view: View) -> list[Point]:
    """Draws of each fork's step, completions of each draw, and their variance."""
    openings = {fork.name: opening_text(plan.checkpoint, fork.trace.item) + fork.before for fork in forks}
    draws = _judged(folder / "variants", [_item(fork.trace.item, *one) for fork, one in _with(forks, openings)],
                    plan.variants, plan, load, view)  # fmt: skip
    tokenizer = tokenizer_of(plan.checkpoint.processing_class)
    delimiters = StepDelimiters.from_tokenizer(plan.checkpoint.processing_class)
    steps = {name: [first_step(text, tokenizer, delimiters) for text, _ in own] for name, own in draws.items()}
    # Every draw has completions of its own, also where two drew the same text: they must be independent.
    items = [
        _item(fork.trace.item, f"{name}.{number}", opening + step)
        for fork, (name, opening) in _with(forks, openings)
        for number, step in enumerate(steps[name])
        if step != draws[name][number][0]
    ]
    finished = _judged(folder / "forked", items, plan.finishes, plan, load, view) if items else {}
    return [_point(fork, steps[fork.name], draws[fork.name], finished, plan.finishes) for fork in forks]


def _with(forks: Sequence[Fork], texts: Mapping[str, str]) -> list[tuple[Fork, tuple[str, str]]]:
    return [(fork, (fork.name, texts[fork.name])) for fork in forks]


def _item(item: Item, name: str, prompt: str) -> Item:
    return replace(item, id=name, prompt=prompt)


def _point(
    fork: Fork, steps: Sequence[str], draws: Sequence[Draw], finished: Mapping[str, Sequence[Draw]], finishes: int
) -> Point:
    """A draw that already ended has its own verdict, as often as others have completions."""
    verdicts = [
        [passed for _, passed in finished.get(f"{fork.name}.{number}", [draw] * finishes)]
        for number, draw in enumerate(draws)
    ]
    return Point(
        item=fork.trace.item.id,
        rollout=f"{fork.trace.kind}{fork.trace.number}",
        end=fork.end,
        entropy=fork.entropy,
        place=fork.place,
        tokens=fork.tokens,
        variants=len(set(steps)),
        parts=variance_parts(verdicts),
    )


def _judged(
    folder: Path, items: Sequence[Item], samples: int, plan: Plan, load: Loaders, view: View
) -> dict[str, list[Draw]]:
    """Item's id -> its completions, sampled and judged."""
    rows = sample_and_judge(folder, fixed(plan, items), replace(plan.sampling, samples=samples), plan, load, view)
    found: dict[str, list[Draw]] = {}
    for row in rows:
        found.setdefault(row["item"], []).append((row["response"], row["score"] >= 1))
    return found
