"""The names of models that the command line knows, beside folders and the hub's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from echorl.cli.errors import as_user_error

if TYPE_CHECKING:
    from echorl.evaluate.checkpoint import Checkpoint


def find_model(name: str) -> tuple[str, str]:
    """(the folder or name that transformers takes, what kind of place that is, for an error message).

    Raises:
        ValueError: 'smollm2' cannot be fetched; the message says what to do.
    """
    from echorl import pretrained
    from echorl.quickstart import POLICY

    known = str({"quickstart": lambda: POLICY, "smollm2": pretrained.fetch}.get(name, lambda: name)())
    hint = "; 'smollm2' is this model without the hub" if name == pretrained.HUB_NAME else ""
    return known, "(a folder)" if os.path.isdir(known) else f"(no folder here, so a model of the hub{hint})"


def find_checkpoint(name: str) -> Checkpoint:
    """The model; its configuration and tokenizer can be read.

    Raises:
        UserError: they cannot.
    """
    from echorl.evaluate.checkpoint import Checkpoint

    path, place = find_model(name)
    checkpoint = Checkpoint(name, path)
    with as_user_error(OSError, ValueError, doing=f"--model {name!r} {place} cannot be loaded"):
        _ = checkpoint.config, checkpoint.processing_class
    return checkpoint
