"""Whole evaluation in one call, for scripts; `echorl eval` is the same with bars, a lock and errors in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import start
from echorl.lab.evaluate.run import evaluate, prepare, settings_of
from echorl.lab.evaluate.store import Store
from echorl.lab.options import Sampling


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
    """Sample what the folder lacks, score it, and return the results, which are in its results.json, too.

    Args:
        model: a Hugging Face folder, an adapter's folder, or a model of the hub.
        benchmarks: names as `echorl eval --benchmarks` takes them.
        output_dir: of one process at a time; a later call goes on from what it holds.
        sampling: `Sampling()` if not given.
        data: the benchmarks' files, instead of the hub's data sets.
        backend: "transformers" or "vllm"; device: that of transformers.

    Returns:
        What `sum_up` returns: `["benchmarks"]["math500"]["measures"]["pass@1"]` is a value with its interval and error.

    Raises:
        ValueError: a benchmark is not known, a prompt does not fit, or the folder holds samples of other settings.
    """
    sampling = sampling or Sampling()
    checkpoint = Checkpoint(str(model), str(model))
    works = prepare(benchmarks, checkpoint, sampling, data)
    common = settings_of(checkpoint, sampling, backend, device)
    engine = partial(start, backend, checkpoint, sampling, works, device)
    return evaluate(Store(output_dir), str(model), works, common, engine)
