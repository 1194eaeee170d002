"""Script of the worker processes: `process` starts this file and exchanges JSON lines with it.

It imports nothing of echorl, and so no torch: the files beside it are imported as modules of a package without the
imports of echorl's `__init__`. A request is a token, a space, and {"function", "arguments", "limit":
seconds of CPU time}. A reply is the token, a space, and {"result", "reason", "last": true if the worker should be
replaced}.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from types import ModuleType
from typing import Any

FOLDER = "echorl_workers"
"""Name of this folder as a package."""
FUNCTIONS_OF: Mapping[str, str] = {"math_verify": ".worker_math", "reasoning_gym": ".worker_gym"}
"""Package -> the module in this folder with the functions that need it, and `warm_up`.

The module may also have `fingerprint()`: a value that changes if a call changed the code that scores.
"""
FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The functions of this process' package."""
LATE = (-signal.SIGPROF,) if hasattr(signal, "SIGPROF") else ()
"""The exit status of a worker that used up a call's CPU time."""
PR_SET_PDEATHSIG = 1


def serve(package: str, memory_limit: int, parent: int) -> None:
    """Answer requests until the input ends. The output of graders is discarded."""
    _end_with_parent(parent)
    replies = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    _reset_signals()
    module = _warm_up(package)
    fingerprint = vars(module).get("fingerprint", lambda: None)
    untouched = fingerprint()
    too_large = _limit_memory(memory_limit)
    print("ready", file=replies, flush=True)
    os.dup2(nowhere, 2)  # nobody reads stderr, and a full pipe would stop the grader
    for line in sys.stdin:
        token, _, text = line.partition(" ")
        request = json.loads(text)
        _limit_cpu(request["limit"])
        result, reason = _answer(request)
        _limit_cpu(0)
        if _has_changed(fingerprint, untouched):
            result, reason = None, "tampered"
        last = reason in ("memory", "tampered") or _peak_memory() > too_large
        reply = json.dumps({"result": result, "reason": reason, "last": last})
        print(token, reply, file=replies, flush=True)


def _answer(request: dict[str, Any]) -> tuple[Any, str]:
    """The result of the call and "", or None and the reason why there is none."""
    try:
        result = FUNCTIONS[request["function"]](*request["arguments"])
        if result is not True and result is not False:
            json.dumps(result)
    except MemoryError:
        return None, "memory"
    except Exception as error:  # hostile input can make a grader raise anything
        return None, f"error {type(error).__name__}"
    return result, ""


def _warm_up(package: str) -> ModuleType:
    """Import and compile the code that every call needs, before any limit of time."""
    sys.modules[FOLDER] = ModuleType(FOLDER)
    sys.modules[FOLDER].__path__ = [os.path.dirname(os.path.abspath(__file__))]
    module = importlib.import_module(FUNCTIONS_OF[package], FOLDER)
    module.warm_up()
    FUNCTIONS.update(module.FUNCTIONS)
    gc.freeze()  # the imported modules stay, so collections need not walk them
    return module


def _has_changed(fingerprint: Callable[[], Hashable], untouched: Hashable) -> bool:
    try:
        return fingerprint() != untouched
    except Exception:  # a name that it reads was deleted
        return True


def _reset_signals() -> None:
    """Undo the parent's ignored and blocked signals, which a child inherits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    if hasattr(signal, "SIGPROF"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _limit_cpu(seconds: float) -> None:
    """Let the kernel end this process by SIGPROF after this CPU time, even inside C code; 0 removes the limit.

    CPU time does not depend on the load of the machine. The parent limits the wall time.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _end_with_parent(parent: int) -> None:
    """End this process when the parent ends, even if a process that the parent forked holds the pipe open.

    Linux ends it at once, also inside C code. Linux takes the thread that started this process for the parent, which is
    why one lasting thread starts all workers. On other systems a thread of this process watches the parent, which C
    code can delay.
    """
    if sys.platform == "linux" and ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:
        if os.getppid() != parent:  # the parent has already ended
            os._exit(1)
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory(extra: int) -> float:
    """Limit the memory that this process may take in addition (Linux only).

    Returns the resident size above which the process should be replaced by a new one.
    """
    if sys.platform != "linux":
        return float("inf")
    import resource

    with open("/proc/self/statm") as file:
        address_space = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (address_space + extra, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return _peak_memory() + extra / 2


def _peak_memory() -> int:
    """The largest resident memory so far in bytes; 0 on systems other than Linux."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules would hide packages of the same name
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
