"""`echorl analyze forks`: draw a step again, let the policy finish each draw, and see how much the step decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echorl.analysis.golden import fork_report
from echorl.analysis.golden.deletion import opening_text
from echorl.analysis.golden.entropy import OWN
from echorl.analysis.golden.fork_estimates import Point
from echorl.analysis.golden.forks import Fork, find_forks, first_step, variance_parts
from echorl.analysis.golden.judged import score_behind
from echorl.analysis.golden.run import (
    Loaders,
    Plan,
    claim,
    fits,
    fixed,
    own_rollouts,
    sample_and_judge,
    score,
    write_result,
)
from echorl.analysis.golden.traces import Scores, Trace
from echorl.core.steps import StepDelimiters
from echorl.evaluate.benchmarks import Item
from echorl.evaluate.loading import tokenizer_of
from echorl.evaluate.plan import seed_of
from echorl.processes import View

Draw = tuple[str, bool]
"""What the policy wrote, and whether the rollout is right that ends so."""


@dataclass(frozen=True)
class Start:
    """A rollout's text so far, from which the policy goes on."""

    name: str
    item: Item
    text: str


def analyze_forks(folder: Path, plan: Plan, load: Loaders, view: View) -> dict[str, Any]:
    """Fork the policy's own rollouts at their steps of highest and lowest entropy; what an earlier call left is used.

    Returns:
        What is written to the folder's forks.json.

    Raises:
        ValueError: no rollout has two steps before its answer, or the folder holds something else.
    """
    _check(plan)
    settings = claim(folder, plan)
    rollouts = own_rollouts(folder / "rollouts", plan, load, view)
    traces = [trace for item in plan.source.benchmark.given for trace in _first(item, rollouts.get(item.id, []), plan)]
    scores = score(folder / "fork-scores", traces, settings, plan, load, view)
    forks, left_out = _fork(traces, scores, plan)
    points = _points(forks, folder, plan, load, view)
    settings = {**settings, **{name: getattr(plan, name) for name in ("traces", "variants", "finishes")}}
    head = {"echorl": "analyze forks", "model": plan.checkpoint.name, "settings": settings}
    sizes = {"rollouts": len(traces), **left_out}
    return write_result(folder / "forks.json", {**head, **fork_report.report(points, plan.variants, sizes)})


def _check(plan: Plan) -> None:
    if plan.sampling.temperature == 0:
        raise ValueError("temperature=0 draws the same step every time: give more than 0 to analyze forks.")
    for name in ("variants", "finishes"):
        if getattr(plan, name) < 2:
            raise ValueError(f"{name}={getattr(plan, name)} has no variance to show: give 2 or more.")
    if not plan.source.graded:
        raise ValueError("forks judges what the policy writes: name a --grader for the file's answers.")


def _first(item: Item, rollouts: Sequence[tuple[str, bool, bool]], plan: Plan) -> list[Trace]:
    """The first rollouts of a prompt, right or wrong: a choice by verdict would change how much is decided."""
    return [
        Trace(item=item, kind=OWN, number=number, text=text, ended=ended)
        for number, (text, _, ended) in enumerate(rollouts[: plan.traces])
    ]


def _fork(traces: Sequence[Trace], scores: Sequence[Scores | None], plan: Plan) -> tuple[list[Fork], dict[str, int]]:
    """Two forks a rollout, and how many rollouts were left out, by reason."""
    found: list[Fork] = []
    left_out = {"too_long": 0, "fewer_than_two_steps": 0}
    for trace, one in zip(traces, scores, strict=True):
        room = one is not None and fits(trace.item, one.tokens + 2 * (_limit(plan) or 0), plan)
        own = find_forks(trace, one) if one is not None and room else []
        if not own:
            left_out["fewer_than_two_steps" if room else "too_long"] += 1
        found += own
    if not found:
        raise ValueError(
            f"no rollout can be forked: of {len(traces)}, {left_out['too_long']} leave no room to go on in the model's "
            f"context (take a smaller --max_new_tokens) and {left_out['fewer_than_two_steps']} have fewer than two "
            "steps before the answer (take prompts that are solved in steps, one a line)."
        )
    return found, left_out


def _limit(plan: Plan) -> int | None:
    """Tokens of a draw, and of what follows it: both must fit behind a rollout; None where nothing says how long."""
    return plan.sampling.max_new_tokens or (plan.checkpoint.context and plan.checkpoint.context // 4)


def _points(forks: Sequence[Fork], folder: Path, plan: Plan, load: Loaders, view: View) -> list[Point]:
    """Draws of each fork's step, completions of each draw, and their variance."""
    starts = [Start(fork.name, fork.trace.item, fork.before) for fork in forks]
    draws = _go_on(folder / "fork-draws", starts, plan.variants, plan, load, view)
    tokenizer = tokenizer_of(plan.checkpoint.processing_class)
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    steps = {name: [first_step(text, tokenizer, delimiters) for text, _ in own] for name, own in draws.items()}
    # Every draw has completions of its own, also where two drew the same text: they must be independent.
    starts = [
        Start(f"{fork.name}.{number}", fork.trace.item, fork.before + step)
        for fork in forks
        for number, step in enumerate(steps[fork.name])
        if step != draws[fork.name][number][0]
    ]
    ends = _go_on(folder / "fork-finishes", starts, plan.finishes, plan, load, view)
    return [_point(fork, steps[fork.name], draws[fork.name], ends, plan.finishes) for fork in forks]


def _point(
    fork: Fork, steps: Sequence[str], draws: Sequence[Draw], ends: Mapping[str, Sequence[Draw]], finishes: int
) -> Point:
    """A draw that ended, or was cut off, in its first step has its own verdict as often as others have completions."""
    verdicts = [
        [passed for _, passed in ends.get(f"{fork.name}.{number}", [draw] * finishes)]
        for number, draw in enumerate(draws)
    ]
    return Point(
        item=fork.trace.item.id,
        rollout=fork.trace.number,
        end=fork.end,
        entropy=fork.entropy,
        place=fork.place,
        tokens=fork.tokens,
        variants=len({step.strip() for step in steps}),
        right=[sum(own) for own in verdicts],
        parts=variance_parts(verdicts),
    )


def _go_on(
    folder: Path, starts: Sequence[Start], samples: int, plan: Plan, load: Loaders, view: View
) -> dict[str, list[Draw]]:
    """Start's name -> what the policy writes from there, so often, and whether the whole rollout is right."""
    if not starts:
        return {}
    openings = {start.item.id: opening_text(plan.checkpoint, start.item) for start in starts}
    items = [replace(one.item, id=one.name, prompt=openings[one.item.id] + one.text) for one in starts]
    # A seed of its own: chunks of the same number draw with the same noise wherever seed and benchmark are the same.
    seed = seed_of(plan.sampling.seed, folder.name)
    sampling = replace(plan.sampling, samples=samples, max_new_tokens=_limit(plan), seed=seed)
    rows = sample_and_judge(folder, fixed(plan, items), sampling, plan, load, view)
    return _judge_whole(starts, items, rows, plan, view)


def _judge_whole(
    starts: Sequence[Start], items: Sequence[Item], rows: Sequence[dict[str, Any]], plan: Plan, view: View
) -> dict[str, list[Draw]]:
    """The stored scores are of what was written last; the answer may stand in the step before it."""
    before = {one.name: plan.checkpoint.opening(one.item) + one.text for one in starts}
    scored, texts = score_behind(rows, items, before, plan, view, "scoring whole rollouts")
    found: dict[str, list[Draw]] = {}
    for row, text in zip(scored, texts, strict=True):
        found.setdefault(row["item"], []).append((text, row["score"] >= 1))
    return found
