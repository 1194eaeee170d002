"""Models on the command line of the lab: their names, the device, and loading them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echorl.cli.parser import required
from echorl.core.options import option
from echorl.support.errors import as_user_error

if TYPE_CHECKING:
    from echorl.lab.evaluate.checkpoint import Checkpoint


MODEL = "A Hugging Face folder, an adapter's folder, a model of the hub, 'quickstart' or 'smollm2'."
DEVICE = "Device of the model: cpu, cuda, cuda:1 or mps; default: cuda if there is one, else cpu."


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The model of a command, and its device."""

    model: str = required(MODEL)
    device: str | None = option(None, DEVICE)


def find_checkpoint(name: str) -> Checkpoint:
    """The model; its configuration and tokenizer can be read.

    Raises:
        UserError: they cannot.
    """
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.models import find_model

    path, place = find_model(name)
    checkpoint = Checkpoint(name, path)
    with as_user_error(OSError, ValueError, doing=f"--model {name!r} {place} cannot be loaded"):
        _ = checkpoint.config, checkpoint.processing_class
    return checkpoint


def default_device() -> str:
    """cuda if there is one, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def loading(checkpoint: Checkpoint, device: str) -> Iterator[None]:
    """While the weights are loaded: no bar but our own, and what goes wrong in one sentence.

    Raises:
        UserError: they cannot be loaded.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # that of the weights, which cuts our own in pieces
    trouble = (OSError, RuntimeError, AssertionError)  # the last: torch without CUDA, asked for it
    with as_user_error(*trouble, doing=f"--model {checkpoint.name!r} cannot be loaded on {device}"):
        yield


def load_model(checkpoint: Checkpoint, device: str | None = None) -> tuple[Any, Any]:
    """(model, tokenizer or processor), on the device or on the default one; errors as `loading`."""
    from echorl.models.loading import load_policy

    device = device or default_device()
    with loading(checkpoint, device):
        return load_policy(checkpoint.path, device)
