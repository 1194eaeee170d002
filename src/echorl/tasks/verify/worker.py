"""What runs in the worker processes: `process` starts this file as a script and talks JSON lines to it.

It imports nothing of echorl (and so no torch). Each line in is {"function", "arguments", "limit": seconds}; each line
out is {"result", "reason", "last": whether the worker had better be replaced}.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

_FOLDER = os.path.dirname(os.path.abspath(__file__))
FUNCTIONS_OF: Mapping[str, str] = {"math_verify": "worker_math.py", "reasoning_gym": "worker_gym.py"}
"""Package -> the file beside this one with the functions that need it, and `warm_up`."""
FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Those of this process' package."""


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
    spec = importlib.util.spec_from_file_location("functions", os.path.join(_FOLDER, FUNCTIONS_OF[package]))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.warm_up()
    FUNCTIONS.update(module.FUNCTIONS)
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
