"""The names of models that the command line knows, beside folders and the hub's."""

from __future__ import annotations

import os


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
