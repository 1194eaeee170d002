"""Graders for the tests of `python -m benchmarks.graders`."""

from __future__ import annotations

import time


def equal(answer: str, gold: str) -> bool:
    """Whether the completion ends with the gold in a box."""
    return answer.endswith(f"\\boxed{{{gold}}}$.")


def always(answer: str, gold: str) -> int:
    return 1


def slow_on_seven(answer: str, gold: str) -> float:
    if gold == "-7":
        time.sleep(3600)
    return 1.0


def raises(answer: str, gold: str) -> float:
    raise KeyError(gold)


def prints(answer: str, gold: str) -> float:
    print('{"score": 0.0}')
    return 1.0


def text(answer: str, gold: str) -> str:
    return "right"


no_function = 3
