"""Serve one grader: a (answer, gold) pair a line on standard input, a score a line on what was standard output.

    python -m benchmarks.graders.worker MODULE:FUNCTION

It imports nothing but the grader's module, and may so run in any environment. What the grader prints goes to standard
error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any


def load(name: str) -> Callable[[str, str], Any]:
    module, _, function = name.partition(":")
    if not module or not function:
        raise ValueError(f"the grader {name!r} is not of the form module:function")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"the module {module!r} of the grader can't be imported: {error}") from error
    if not callable(getattr(loaded, function, None)):
        raise ValueError(f"the module {module!r} has no function {function!r}")
    return getattr(loaded, function)


def score(grader: Callable[[str, str], Any], answer: str, gold: str) -> dict[str, Any]:
    """The score of a pair, or the exception that the grader raised, or the value that is no score."""
    try:
        value = grader(answer, gold)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    try:
        return {"score": float(value)}
    except (TypeError, ValueError):
        return {"no_score": repr(value)[:200]}


def main() -> None:
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
