"""A worker with functions that graders do not have; as a script, `python fake_worker.py WORKER MEMORY PARENT`."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import time
from pathlib import Path

CHANGES: list[object] = []


def value(result: object) -> object:
    return result


def environment() -> dict[str, str]:
    return dict(os.environ)


def folder() -> list[object]:
    return [os.listdir("."), os.path.expanduser("~")]


def write() -> None:
    Path("written").touch()


def power() -> int:
    """Hours of one operation in C."""
    return (9**9**9) % 7


def hold(path: str) -> None:
    """Keep Python's lock in C code, without CPU time; a file tells when that begins."""
    Path(path).touch()
    ctypes.PyDLL(None).sleep(600)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def forge(reply: str) -> float:
    """Write a reply to every open pipe, as a hostile answer that knows no token can."""
    for number in range(3, 20):
        try:
            os.write(number, f"{reply}\n".encode())
        except OSError:
            continue
    return 1.0


def change() -> float:
    CHANGES.append(1)
    return 1.0


def spoil() -> float:
    """Change the code so that the fingerprint raises an error."""
    CHANGES.append({})
    return 1.0


def fingerprint() -> int:
    return hash(tuple(CHANGES))


def warm_up() -> None:
    pass


FUNCTIONS = {
    function.__name__: function
    for function in (value, environment, folder, write, power, hold, sleep, forge, change, spoil)
}

if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("worker", sys.argv[1])
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    sys.path.append(os.path.dirname(__file__))
    worker.FUNCTIONS_OF = {"fake": Path(__file__).stem}
    worker.serve("fake", int(sys.argv[2]), int(sys.argv[3]))
