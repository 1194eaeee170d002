"""What runs in the worker processes: `process` starts this file as a script and talks JSON lines to it.

It imports nothing of echorl (and so no torch). Each line in is {"function", "arguments", "limit": seconds}; each line
out is {"result", "reason", "last": whether the worker had better be replaced}.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

MAX_ANSWER_CHARS = 20_000
"""A longer answer is a failure; no scorer of reasoning-gym sees it."""


def math_equal(gold: str, answer: str) -> bool:
    """Whether math-verify finds the answer equal to the gold one, both LaTeX without delimiters."""
    from math_verify import verify

    return verify(_boxed(gold), _parse_boxed(answer), timeout_seconds=None)


def _parse_boxed(latex: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    return parse(f"\\boxed{{{latex}}}", [LatexExtractionConfig()], parsing_timeout=None)


@lru_cache(maxsize=256)
def _boxed(gold: str) -> list[Any]:
    return _parse_boxed(gold)


def text_equal(gold: str, answer: str) -> bool:
    """Whether math-verify finds the answer, as text or as LaTeX, equal to the gold one."""
    from math_verify import parse, verify

    wanted = parse(gold, parsing_timeout=None)
    readings = [answer] if "$" in answer else [answer, f"${answer}$"]
    return any(verify(wanted, parse(text, parsing_timeout=None), timeout_seconds=None) for text in readings)


def latex_value(answer: str) -> float | None:
    """The real number that the LaTeX stands for; None if math-verify reads none in it."""
    for reading in _parse_boxed(answer):
        value = getattr(reading, "rhs", reading)  # of x = 5 the 5
        if getattr(value, "is_number", False) and value.is_extended_real:
            return float(value.evalf())
    return None


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


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function for function in (math_equal, text_equal, latex_value, reasoning_gym_score)
}


def serve(package: str, memory_limit: int) -> None:
    """Answer lines until the input ends. What graders print goes nowhere."""
    replies = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the parent may ignore it, and its children with it
    _warm_up(package)
    too_large = _limit_memory(memory_limit)
    _end_with_parent()
    print("ready", file=replies, flush=True)
    os.dup2(nowhere, 2)  # nobody reads it: a full pipe would stop the grader
    for line in sys.stdin:
        request = json.loads(line)
        _die_after(request["limit"])
        result, reason = _answer(request)
        _die_after(0)
        last = reason == "memory" or _peak_memory() > too_large
        replies.write(_reply(result, reason, last) + "\n")
        replies.flush()


def _answer(request: dict[str, Any]) -> tuple[Any, str]:
    """(result, reason)"""
    try:
        result = FUNCTIONS[request["function"]](*request["arguments"])
        if result is not True and result is not False:
            json.dumps(result)
    except MemoryError:
        return None, "memory"
    except Exception as error:  # hostile input: whatever a grader raises on it is its answer
        return None, f"error {type(error).__name__}"
    return result, ""


def _reply(result: Any, reason: str, last: bool) -> str:
    return json.dumps({"result": result, "reason": reason, "last": last})


def _warm_up(package: str) -> None:
    """Import and compile what every call needs, before the clock runs."""
    importlib.import_module(package)
    if package == "math_verify":
        math_equal("\\frac{1}{2}", "x+1")
    gc.freeze()  # what was imported stays: collections need not walk it


def _die_after(seconds: float) -> None:
    """Let the kernel end this process then (as SIGALRM does by default), even inside C code; 0: never mind."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _end_with_parent() -> None:
    """End soon after the parent did, even if a process that it forked holds this one's pipe open."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory(extra: int) -> float:
    """Limit what it may take beyond what it has, on Linux.

    Returns the resident size above which it has grown so much that a new one is better.
    """
    if sys.platform != "linux":
        return float("inf")
    import resource

    with open("/proc/self/statm") as file:
        address_space = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (address_space + extra, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return _peak_memory() + extra / 2


def _peak_memory() -> int:
    """The most resident memory so far in bytes; 0 where the system doesn't tell."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules would hide packages of the same name
    serve(sys.argv[1], int(sys.argv[2]))
