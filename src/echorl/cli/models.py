"""Models on the command line of the lab: their names, the device, and loading them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.cli.parser import CommandOptions, required
from echorl.core.options import option
from echorl.support.errors import as_user_error
from echorl.support.installed import install_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echorl.lab.evaluate.benchmarks import Benchmark
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.engines import Engine
    from echorl.lab.evaluate.plan import Work
    from echorl.lab.options import Sampling

MODEL = "A Hugging Face folder, an adapter's folder, a model of the hub, 'quickstart' or 'smollm2'."
BENCHMARK = (
    "math500, gsm8k and others (docs/reference/benchmarks.md), TASK[:SPLIT], or your own FILE.jsonl (.parquet, .csv) "
    "with a 'prompt' and an 'answer' in every row."
)
DEVICE = "Device of the model: cpu, cuda, cuda:1 or mps; default: cuda if there is one, else cpu."


@dataclass(frozen=True, kw_only=True)
class ModelOptions(CommandOptions):
    """The model of a command, and its device."""

    model: str = required(MODEL)
    device: str | None = option(None, DEVICE)


def find_checkpoint(name: str) -> Checkpoint:
    """Return the model, whose configuration and tokenizer can be read, and say that this takes seconds.

    Raises:
        UserError, ValueError: one of them cannot be read, or the name is nearly that of a shipped model.
    """
    from echorl.models import find_model

    path, place = find_model(name)  # a wrong name is refused before torch is imported
    say_loading("PyTorch and the tokenizer")
    from echorl.lab.evaluate.checkpoint import Checkpoint

    checkpoint = Checkpoint(name, path)
    with as_user_error(OSError, ValueError, doing=f"--model {name!r} {place} cannot be loaded"):
        _ = checkpoint.config, checkpoint.processing_class
    return checkpoint


def say_loading(what: str) -> None:
    """Say what is being loaded, before imports that take seconds."""
    print(f"loading {what}", file=sys.stderr, flush=True)


def find_benchmarks(names: Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks of these names, without torch.

    Raises:
        UserError, ValueError: a name is unknown, a file cannot be used, or a package is missing.
    """
    from echorl.lab.evaluate.benchmarks import load_benchmark

    with as_user_error(ImportError, doing=f"a benchmark needs a package ({install_command('tasks')})"):
        return [load_benchmark(name) for name in names]


def base_name(path: str | Path) -> str:
    """Return the last part of a path or of a model's name; of `.`, too, the name of the folder."""
    return os.path.basename(os.path.abspath(path))


def default_device() -> str:
    """Return cuda if there is one, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_model(checkpoint: Checkpoint, device: str | None = None) -> tuple[Any, Any]:
    """Return the model and its tokenizer or processor, on the device or on the default one.

    Raises:
        UserError: the weights cannot be loaded.
    """
    from echorl.models.loading import load_policy

    device = device or default_device()
    with _loading(checkpoint, device):
        return load_policy(checkpoint.path, device)


def start_engine(
    backend: str, checkpoint: Checkpoint, sampling: Sampling, works: Sequence[Work], device: str
) -> Engine:
    """Return the engine that samples; errors as of `load_model`."""
    from echorl.lab.evaluate.engines import start

    with _loading(checkpoint, device):
        return start(backend, checkpoint, sampling, works, device)


@contextmanager
def _loading(checkpoint: Checkpoint, device: str) -> Iterator[None]:
    """Hide the bar of the weights, which cuts the command's own in pieces, and turn errors into the user's."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    errors = (OSError, RuntimeError, AssertionError)  # torch without CUDA raises an AssertionError for "cuda"
    with as_user_error(*errors, doing=f"--model {checkpoint.name!r} cannot be loaded on {device}"):
        yield
