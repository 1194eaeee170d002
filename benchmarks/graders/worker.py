"""Serve one grader: read an (answer, reference answer) pair a line from standard input, write a score a line.

    python -m benchmarks.graders.worker MODULE:FUNCTION

It imports only the grader's module, so that it runs in any environment. Scores are written to the original standard
output. The grader's own output goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any


def load(name: str) -> Callable[[str, str], Any]:
    """The function `module:function`; ValueError if there is none."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"the grader {name!r} is not of the form module:function")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"the module {module!r} of the grader cannot be imported: {error}") from error
    if not callable(getattr(loaded, function, None)):
        raise ValueError(f"the module {module!r} has no function {function!r}")
    return getattr(loaded, function)


def score(grader: Callable[[str, str], Any], answer: str, reference: str) -> dict[str, Any]:
    """The score of a pair, the exception that the grader raised, or its value that is no number."""
    try:
        value = grader(answer, reference)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    try:
        return {"score": float(value)}
    except (TypeError, ValueError):
        return {"no_score": repr(value)[:200]}


def main() -> None:
    """Answer pairs until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.path.insert(0, os.getcwd())
    try:
        grader = load(sys.argv[1])
    except ValueError as error:
        print(json.dumps({"refused": str(error)}), file=replies, flush=True)
        return
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(score(grader, *json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
