"""The graders; `sandbox` starts this file as a script in a process of its own and talks JSON lines to it.

As a script it imports nothing of echorl (and so no torch). Each line in is {"arguments": [...], "limit": seconds};
each line out is {"result": ...}, or {"error": "..."} where the grader raised.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

MAX_ANSWER_CHARS = 20_000
"""A longer answer is a failure; no scorer of reasoning-gym sees it."""
MAX_EXTRA_BYTES = 4 * 2**30
"""Memory that a worker may take beyond what it started with (Linux only)."""


def math_verify_equal(gold: str, answer: str) -> bool:
    """Whether math-verify finds the answer, as text or as LaTeX, equal to the gold one. No time-out of its own."""
    from math_verify import parse, verify

    wanted = parse(gold, parsing_timeout=None)
    readings = [answer] if "$" in answer else [answer, f"${answer}$"]
    return any(verify(wanted, parse(text, parsing_timeout=None), timeout_seconds=None) for text in readings)


def reasoning_gym_score(generator: str, config: str, answer: str, instance: str) -> Any:
    """What the generator's scorer says, unchanged; 0.0 for an answer that is too long for it."""
    if len(answer) > MAX_ANSWER_CHARS:
        return 0.0
    return _scorer(generator, config).score_answer(answer, decode(instance))


@cache
def _scorer(generator: str, config: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(generator, seed=0, size=1, **decode(config))


def encode(value: Any) -> str:
    """The value as JSON with tuples marked: scorers compare them, and plain JSON would make them lists."""
    return json.dumps(_mark(value))


def decode(text: str) -> Any:
    """What `encode` was given.

    >>> decode(encode({"board": ((1, 2), [3])}))
    {'board': ((1, 2), [3])}
    """
    return json.loads(text, object_hook=lambda value: tuple(value["__tuple__"]) if "__tuple__" in value else value)


def _mark(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"__tuple__": [_mark(item) for item in value]}
    if isinstance(value, list):
        return [_mark(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _mark(item) for key, item in value.items()}
    return value


GRADERS: Mapping[str, Callable[..., Any]] = {"math_verify": math_verify_equal, "reasoning_gym": reasoning_gym_score}
"""Grader, named after the package that it needs -> the function."""


def serve(name: str) -> None:
    """Answer lines until the input ends. What graders print goes nowhere."""
    replies = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    importlib.import_module(name)  # before the clock runs
    _limit_memory()
    print("ready", file=replies, flush=True)
    os.dup2(nowhere, 2)  # nobody reads it: a full pipe would stop the grader
    for line in sys.stdin:
        request = json.loads(line)
        _die_after(request["limit"])
        try:
            reply = json.dumps({"result": GRADERS[name](*request["arguments"])})
        except Exception as error:  # hostile input: whatever a grader raises on it is its answer
            reply = json.dumps({"error": type(error).__name__})
        _die_after(0)
        print(reply, file=replies, flush=True)


def _die_after(seconds: float) -> None:
    """Let the kernel end this process then, even inside C code and without a parent; 0: never mind."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MAX_EXTRA_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its reasoning_gym.py would hide the package
    serve(sys.argv[1])
