"""`echorl analyze` from start to end: rollouts, their scores, and completions of solutions without some steps."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from echorl.core.options import check_options
from echorl.lab.analyze import curves, entropy
from echorl.lab.analyze.deletion import Deleted, delete, open_thinking, outcome, prefixed_items
from echorl.lab.analyze.source import Fixed, Source, spellings
from echorl.lab.analyze.traces import EXPERT, KINDS, RIGHT, WRONG, Scores, Trace, score_traces
from echorl.lab.evaluate import grading
from echorl.lab.evaluate.benchmarks import Benchmark, Item
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import Engine
from echorl.lab.evaluate.plan import Work, hash_prompts, room
from echorl.lab.evaluate.run import evaluate, settings_of
from echorl.lab.evaluate.sampling import render
from echorl.lab.evaluate.store import Rows, Store, read_samples
from echorl.lab.jobs import View
from echorl.lab.logs.layouts import read_rollouts
from echorl.lab.mine.scorer import Scorer
from echorl.lab.options import Columns, Deletion, Sampling
from echorl.support.files import write_json
from echorl.support.folder import ResultFolder


@dataclass(frozen=True, kw_only=True)
class Plan(Deletion):
    """Settings of an analysis.

    Attributes:
        checkpoint: the policy.
        source: prompts with demonstrations.
        sampling: settings of the rollouts; their temperature is that of the entropies, too (1 where it is 0).
        device: "cpu", "cuda".
        rollouts, columns: files of rollouts that are read instead of sampled, and their columns.
    """

    checkpoint: Checkpoint
    source: Source
    sampling: Sampling
    device: str = "cpu"
    rollouts: Sequence[Path] = ()
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.source.benchmark.given:
            raise ValueError(f"{self.source.benchmark.name} has no prompt with a demonstration: give other rows.")


@dataclass(frozen=True, kw_only=True)
class Loaders:
    """Functions that load the model when it is needed: to sample, or to score at a temperature."""

    engine: Callable[[Sequence[Work], Sampling], Engine]
    scorer: Callable[[float], Scorer]


def analyze_entropy(folder: Path, plan: Plan, load: Loaders, view: View) -> dict[str, Any]:
    """Compare entropies; results that an earlier call with the same settings left in the folder are used.

    Returns:
        The content of the folder's entropy.json.

    Raises:
        ValueError: no rollout is right, or the folder holds something else.
    """
    traces, scores, settings = _score_all(folder, plan, load, view)
    return _write(folder, "entropy", plan, settings, entropy.report(traces, scores))


def analyze_deletion(folder: Path, plan: Plan, load: Loaders, view: View) -> dict[str, Any]:
    """Delete steps, let the policy go on, and grade; results that an earlier call with the same settings left are used.

    Returns:
        The content of the folder's deletion.json.

    Raises:
        ValueError: no rollout is right, none has a step before its answer, or the folder holds something else.
    """
    if not plan.source.graded:
        raise ValueError("deletion grades what the policy writes: name a --grader for the file's answers.")
    traces, scores, settings = _score_all(folder, plan, load, view)
    solutions, excluded = _delete(traces, scores, plan)
    verdicts = _finish(folder / "finished", solutions, plan, load, view)
    grader = plan.source.benchmark.get_grader()
    outcomes = [outcome(solution, verdicts, grader.answer(solution.trace.text)) for solution in solutions]
    sizes = {"continuations": len(verdicts) * plan.finishes, **excluded}
    settings = {**settings, "traces": plan.traces, "finishes": plan.finishes}
    return _write(folder, "deletion", plan, settings, curves.report(outcomes, sizes))


def _write(
    folder: Path, name: str, plan: Plan, settings: Mapping[str, Any], report: Mapping[str, Any]
) -> dict[str, Any]:
    result = {"echorl": f"analyze {name}", "model": plan.checkpoint.name, "settings": settings, **report}
    write_json(folder / f"{name}.json", result)
    return result


def _score_all(
    folder: Path, plan: Plan, load: Loaders, view: View
) -> tuple[list[Trace], list[Scores | None], dict[str, Any]]:
    """Return all traces with their scores, and the settings that they were made with."""
    settings = _settings(plan)
    ResultFolder(folder, "analyze", holds="an analysis").claim(settings)
    traces = _collect(_read(plan) if plan.rollouts else _sample(folder / "rollouts", plan, load, view), plan)
    key = {name: settings[name] for name in ("model", "prompts", "temperature")}
    start, size = partial(load.scorer, plan.sampling.temperature or 1.0), plan.sampling.batch_size
    return traces, score_traces(traces, plan.checkpoint, start, folder / "scores", key, size=size, view=view), settings


def _settings(plan: Plan) -> dict[str, Any]:
    benchmark = plan.source.benchmark
    names = ("samples", "temperature", "top_p", "max_new_tokens", "batch_size", "seed")
    return {
        "benchmark": benchmark.name,
        "model": plan.checkpoint.fingerprint(),
        "items": len(benchmark.given),
        "prompts": hash_prompts(benchmark.given),
        "rollouts": [str(path) for path in plan.rollouts],
        "device": plan.device.partition(":")[0],
        **{name: getattr(plan.sampling, name) for name in names},
    }


Responses = list[tuple[str, bool, str, bool]]
"""(item's id, whether it is right, its text, whether it came to its end) of each rollout."""


def _sample(folder: Path, plan: Plan, load: Loaders, view: View) -> Responses:
    if not plan.source.graded:
        raise ValueError("rollouts must be graded: name a --grader for the file's answers, or stored --rollouts.")
    rows = _sample_and_score(folder, plan.source.benchmark, plan.sampling, plan, load, view)
    return [(row["item"], row["score"] >= 1, row["response"], not row["truncated"]) for row in rows]


def _sample_and_score(
    folder: Path, benchmark: Benchmark, sampling: Sampling, plan: Plan, load: Loaders, view: View
) -> Rows:
    """Sample and score all items, as `echorl eval` does; return the rows of the samples."""
    items = benchmark.items()
    longest = max(map(len, plan.checkpoint.token_ids(items)))
    limit = room(plan.checkpoint.context, longest, sampling.max_new_tokens, benchmark.name)
    work = Work(benchmark=benchmark, items=items, samples=sampling.samples or 1, max_new_tokens=limit, longest=longest)
    common = settings_of(plan.checkpoint, sampling, "transformers", plan.device)
    store = Store(folder)
    evaluate(store, plan.checkpoint.name, [work], common, lambda: load.engine([work], sampling), view)
    return read_samples(store.samples(benchmark.name))[0]


def _read(plan: Plan) -> Responses:
    """Return stored rollouts with a verdict on the source's prompts; rollouts on other prompts are excluded."""
    item_ids: dict[str, str] = {}
    for item in plan.source.benchmark.given:
        rendered = render(plan.checkpoint.processing_class, plan.checkpoint.prompt(item)).text
        item_ids |= dict.fromkeys(spellings(item, rendered), item.id)
    responses = [
        (item_ids[prompt], rollout.reward >= 1, rollout.response, True)
        for rollout in read_rollouts(plan.rollouts, plan.columns, lambda count: None)
        if rollout.reward is not None and (prompt := json.dumps(rollout.prompt)) in item_ids
    ]
    if not responses:
        name = plan.source.benchmark.name
        raise ValueError(f"no prompt of {plan.rollouts[0]} is one of {name}'s: give rollouts on its prompts.")
    return responses


def _collect(responses: Responses, plan: Plan) -> list[Trace]:
    """Return the demonstration and the rollouts of every prompt that has a right rollout, as traces."""
    items = plan.source.benchmark.given
    texts: dict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    for item_id, is_right, text, ended in responses:
        texts[item_id, RIGHT if is_right else WRONG].append((text, ended))
    solved = [item for item in items if texts[item.id, RIGHT]]
    if not solved:
        raise ValueError(
            f"none of {len(responses)} rollouts on {len(items)} prompts is right: take a model that solves some, "
            "easier prompts, or more --samples."
        )
    for item in solved:
        texts[item.id, EXPERT] = [(plan.source.demonstrations[item.id], True)]
    return [
        Trace(item=item, kind=kind, number=number, text=text, ended=ended)
        for item in solved
        for kind in KINDS
        for number, (text, ended) in enumerate(texts[item.id, kind])
    ]


def _delete(
    traces: Sequence[Trace], scores: Sequence[Scores | None], plan: Plan
) -> tuple[list[Deleted], dict[str, int]]:
    """Return the traces with their cuts, and the number of excluded ones by reason."""
    solutions, excluded = [], {"too_long": 0, "one_step_only": 0}
    for trace, score in zip(traces, scores, strict=True):
        if trace.kind == WRONG or trace.number >= plan.traces:
            continue
        solution = None if score is None else delete(trace, score, plan.sampling.seed)
        if score is not None and solution is None:
            excluded["one_step_only"] += 1
        elif solution is None or not _leaves_room(solution, plan):
            excluded["too_long"] += 1
        else:
            solutions.append(solution)
    if not solutions and excluded["too_long"]:
        raise ValueError(
            "no solution leaves room for another one in the model's context: take a smaller --max_new_tokens, or "
            "prompts with shorter solutions."
        )
    if not solutions:
        raise ValueError(
            "every solution has its answer in the only step that it has, so that there is nothing to delete: take "
            "prompts that are solved in steps, one a line."
        )
    return solutions, excluded


def _leaves_room(solution: Deleted, plan: Plan) -> bool:
    """Return whether the policy can write `max_new_tokens` (unset: half its context) behind the solution."""
    context, [prompt] = plan.checkpoint.context, plan.checkpoint.token_ids([solution.trace.item])
    if context is None:
        return True
    return len(prompt) + sum(solution.lengths) + (plan.sampling.max_new_tokens or context // 2) <= context


def _finish(folder: Path, solutions: Sequence[Deleted], plan: Plan, load: Loaders, view: View) -> dict[str, list[bool]]:
    """Return the verdicts on what the policy wrote from each cut, by the cut's item id."""
    base, items = plan.source.benchmark, prefixed_items(solutions, plan.checkpoint)
    benchmark = Fixed(name=base.name, title=base.title, grader=base.grader, given=tuple(items), like=base)
    rows = _sample_and_score(folder, benchmark, replace(plan.sampling, samples=plan.finishes), plan, load, view)
    begun = open_thinking(solutions, plan.checkpoint)
    if any(begun.values()):
        rows = _score_behind(rows, items, begun, plan, view)
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        verdicts[row["item"]].append(row["score"] >= 1)
    return verdicts


def _score_behind(rows: Rows, items: Sequence[Item], begun: Mapping[str, str], plan: Plan, view: View) -> Rows:
    """Score the completions again, each with `begun` (item's id -> "<think>" or "") in front of it.

    The engine puts `<think>` in front of a completion where the prompt ends so. It does not where a step of the
    thinking follows in the prompt.
    """
    openings = {item.id: plan.checkpoint.opening(item) for item in items}
    texts = [begun[row["item"]] + row["response"].removeprefix(openings[row["item"]]) for row in rows]
    rows = [{**row, "response": text} for row, text in zip(rows, texts, strict=True)]
    benchmark = plan.source.benchmark
    advance = view.begin(f"{benchmark.name}: scoring behind open thinking", len(rows))
    return grading.score(rows, grading.reference_answers_of(rows, items), benchmark.get_grader(), advance)
