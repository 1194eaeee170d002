"""Entropy and deletion from start to end: rollouts, their scores, and what the policy makes of what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from echorl.core.options import check_options
from echorl.lab.analyze import curves, entropy
from echorl.lab.analyze.deletion import Deleted, delete, open_thinking, outcome, prefixed_items
from echorl.lab.analyze.source import Fixed, Source, prompt_key, spellings
from echorl.lab.analyze.traces import EXPERT, RIGHT, WRONG, Scores, Trace, score_traces
from echorl.lab.evaluate import grading
from echorl.lab.evaluate.benchmarks import Benchmark, Item
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import Engine
from echorl.lab.evaluate.plan import Work, hash_prompts, room
from echorl.lab.evaluate.run import evaluate, settings_of
from echorl.lab.evaluate.sampling import render
from echorl.lab.evaluate.store import Rows, Store, read_samples
from echorl.lab.jobs import View
from echorl.lab.mine.rows import read_rollouts
from echorl.lab.mine.scorer import Scorer
from echorl.lab.options import Columns, Deletion, Sampling
from echorl.support.files import write_json
from echorl.support.folder import ResultFolder


@dataclass(frozen=True, kw_only=True)
class Plan(Deletion):
    """Policy and prompts to analyse, and how.

    Attributes:
        checkpoint: the policy.
        source: prompts with demonstrations.
        sampling: of the rollouts; its temperature is that of the entropies, too (1 where it is 0).
        device: "cpu", "cuda".
        rollouts, columns: files with rollouts instead of sampling them, and their columns.
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
    """Functions that load the model, called when it is needed: to sample, or to score at a temperature."""

    engine: Callable[[Sequence[Work], Sampling], Engine]
    scorer: Callable[[float], Scorer]


def analyze_entropy(folder: Path, plan: Plan, load: Loaders, view: View) -> dict[str, Any]:
    """Compare entropies; what an earlier call with the same settings left in the folder is used.

    Returns:
        What is written to the folder's entropy.json.

    Raises:
        ValueError: no verified rollout, or the folder holds something else.
    """
    traces, scores, settings = _score_all(folder, plan, load, view)
    found = {"echorl": "analyze entropy", "model": plan.checkpoint.name, "settings": settings}
    return _write(folder / "entropy.json", {**found, **entropy.report(traces, scores)})


def analyze_deletion(folder: Path, plan: Plan, load: Loaders, view: View) -> dict[str, Any]:
    """Delete steps, let the policy go on, and judge; what an earlier call with the same settings left is used.

    Returns:
        What is written to the folder's deletion.json.

    Raises:
        ValueError: no verified rollout, none with a step before its answer, or the folder holds something else.
    """
    if not plan.source.graded:
        raise ValueError("deletion judges what the policy writes: name a --grader for the file's answers.")
    traces, scores, settings = _score_all(folder, plan, load, view)
    deleted, left_out = _delete(traces, scores, plan)
    verdicts = _finish(folder / "finished", deleted, plan, load, view)
    grader = plan.source.benchmark.get_grader()
    outcomes = [outcome(one, verdicts, grader.answer(one.trace.text)) for one in deleted]
    settings = {**settings, "traces": plan.traces, "finishes": plan.finishes}
    found = {"echorl": "analyze deletion", "model": plan.checkpoint.name, "settings": settings}
    sizes = {"continuations": len(verdicts) * plan.finishes, **left_out}
    return _write(folder / "deletion.json", {**found, **curves.report(outcomes, sizes)})


def _write(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    write_json(path, found)
    return found


def _score_all(
    folder: Path, plan: Plan, load: Loaders, view: View
) -> tuple[list[Trace], list[Scores | None], dict[str, Any]]:
    """Return all traces with their scores, and the settings that they were made with."""
    settings = _settings(plan)
    ResultFolder(folder, "analyze", holds="an analysis").claim(settings)
    traces = _collect(folder / "rollouts", plan, load, view)
    key = {name: settings[name] for name in ("model", "prompts", "temperature")}
    start, size = partial(load.scorer, plan.sampling.temperature or 1.0), plan.sampling.batch_size
    return traces, score_traces(traces, plan.checkpoint, start, folder / "scores", key, size=size, view=view), settings


def _collect(folder: Path, plan: Plan, load: Loaders, view: View) -> list[Trace]:
    """Return the demonstration and the rollouts of every prompt that has a right rollout."""
    items = plan.source.benchmark.given
    own = _read(plan) if plan.rollouts else _sample(folder, plan, load, view)
    if not any(passed for rows in own.values() for _, passed, _ in rows):
        total = sum(map(len, own.values()))
        raise ValueError(
            f"none of {total} rollouts on {len(items)} prompts is right: take a model that solves some, easier "
            "prompts, or more --samples."
        )
    return [trace for item in items for trace in _traces(item, own.get(item.id, []), plan)]


def _settings(plan: Plan) -> dict[str, Any]:
    benchmark = plan.source.benchmark
    sampling = asdict(plan.sampling)
    names = ("samples", "temperature", "top_p", "max_new_tokens", "batch_size", "seed")
    return {
        "benchmark": benchmark.name,
        "model": plan.checkpoint.fingerprint(),
        "items": len(benchmark.given),
        "prompts": hash_prompts(benchmark.given),
        "rollouts": [str(path) for path in plan.rollouts],
        "device": plan.device.partition(":")[0],
        **{name: sampling[name] for name in names},
    }


OwnRollouts = dict[str, list[tuple[str, bool, bool]]]
"""Item's id -> (text, whether it is right, whether it came to its end) of each rollout."""


def _sample(folder: Path, plan: Plan, load: Loaders, view: View) -> OwnRollouts:
    if not plan.source.graded:
        raise ValueError("rollouts have to be judged: name a --grader for the file's answers, or stored --rollouts.")
    rows = _sample_and_score(folder, plan.source.benchmark, plan.sampling, plan, load, view)
    found: OwnRollouts = {}
    for row in rows:
        found.setdefault(row["item"], []).append((row["response"], row["score"] >= 1, not row["truncated"]))
    return found


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


def _read(plan: Plan) -> OwnRollouts:
    """Return stored rollouts on the source's prompts; rollouts on other prompts are left out."""
    known: dict[str, str] = {}
    for item in plan.source.benchmark.given:
        shown = render(plan.checkpoint.processing_class, plan.checkpoint.prompt(item)).text
        known |= dict.fromkeys(spellings(item, shown), item.id)
    found: OwnRollouts = {}
    for rollout in read_rollouts(plan.rollouts, plan.columns, lambda count: None):
        name = known.get(prompt_key(rollout.prompt))
        if name is not None and rollout.reward is not None:
            found.setdefault(name, []).append((rollout.response, rollout.reward >= 1, True))
    if not found:
        where = plan.source.benchmark.name
        raise ValueError(f"no prompt of {plan.rollouts[0]} is one of {where}'s: give rollouts on its prompts.")
    return found


def _traces(item: Item, rollouts: Sequence[tuple[str, bool, bool]], plan: Plan) -> list[Trace]:
    """Return the demonstration and the rollouts; none of a prompt without a right rollout."""
    if not any(passed for _, passed, _ in rollouts):
        return []
    found = [Trace(item=item, kind=EXPERT, number=0, text=plan.source.demonstrations[item.id])]
    for kind, wanted in ((RIGHT, True), (WRONG, False)):
        own = [(text, ended) for text, passed, ended in rollouts if passed == wanted]
        found += [
            Trace(item=item, kind=kind, number=number, text=text, ended=ended)
            for number, (text, ended) in enumerate(own)
        ]
    return found


def _delete(
    traces: Sequence[Trace], scores: Sequence[Scores | None], plan: Plan
) -> tuple[list[Deleted], dict[str, int]]:
    """Return the traces with what is left of them, and how many were left out, by reason."""
    found, left_out = [], {"too_long": 0, "one_step_only": 0}
    for trace, score in zip(traces, scores, strict=True):
        if trace.kind == WRONG or trace.number >= plan.traces:
            continue
        one = None if score is None else delete(trace, score, plan.sampling.seed)
        if score is not None and one is None:
            left_out["one_step_only"] += 1
        elif one is None or not _leaves_room(one, plan):
            left_out["too_long"] += 1
        else:
            found.append(one)
    if not found and left_out["too_long"]:
        raise ValueError(
            "no solution leaves room for another one in the model's context: take a smaller --max_new_tokens, or "
            "prompts with shorter solutions."
        )
    if not found:
        raise ValueError(
            "every solution has its answer in the only step that it has, so that there is nothing to delete: take "
            "prompts that are solved in steps, one a line."
        )
    return found, left_out


def _leaves_room(one: Deleted, plan: Plan) -> bool:
    """Return whether the policy can write `max_new_tokens` (unset: half its context) behind the solution."""
    wanted = plan.sampling.max_new_tokens or (plan.checkpoint.context or 0) // 2
    context, prompt = plan.checkpoint.context, plan.checkpoint.token_ids([one.trace.item])[0]
    return context is None or len(prompt) + sum(one.lengths) + wanted <= context


def _finish(folder: Path, deleted: Sequence[Deleted], plan: Plan, load: Loaders, view: View) -> dict[str, list[bool]]:
    """Return the verdicts on what the policy wrote from each rest, by the rest's item id."""
    base, items = plan.source.benchmark, prefixed_items(deleted, plan.checkpoint)
    benchmark = Fixed(name=base.name, title=base.title, grader=base.grader, given=tuple(items), like=base)
    rows = _sample_and_score(folder, benchmark, replace(plan.sampling, samples=plan.finishes), plan, load, view)
    begun = open_thinking(deleted, plan.checkpoint)
    if any(begun.values()):
        rows = _score_behind(rows, items, begun, plan, view)
    found: dict[str, list[bool]] = {}
    for row in rows:
        found.setdefault(row["item"], []).append(row["score"] >= 1)
    return found


def _score_behind(rows: Rows, items: Sequence[Item], begun: Mapping[str, str], plan: Plan, view: View) -> Rows:
    """Score the completions again, each with `begun` (item's id -> "<think>" or "") in front of it.

    The engine puts `<think>` in front of a completion where the prompt ends so. It does not where a step of the
    thinking follows in the prompt.
    """
    added = {item.id: plan.checkpoint.opening(item) for item in items}
    texts = [begun[row["item"]] + row["response"].removeprefix(added[row["item"]]) for row in rows]
    whole = [{**row, "response": text} for row, text in zip(rows, texts, strict=True)]
    benchmark = plan.source.benchmark
    show = view.begin(f"{benchmark.name}: scoring behind open thinking", len(rows))
    return grading.score(whole, grading.reference_answers_of(whole, items), benchmark.get_grader(), show)
