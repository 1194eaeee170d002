"""Graders for the tests of `python -m benchmarks.graders`."""

from __future__ import annotations

import time


def equal(answer: str, reference_answer: str) -> bool:
    """Whether the completion ends with the reference answer in a box."""
    return answer.endswith(f"\\boxed{{{reference_answer}}}$.")


def always(answer: str, reference_answer: str) -> int:
    return 1


def slow_on_seven(answer: str, reference_answer: str) -> float:
    if reference_answer == "-7":
        time.sleep(3600)
    return 1.0


def raises(answer: str, reference_answer: str) -> float:
    raise KeyError(reference_answer)


def prints(answer: str, reference_answer: str) -> float:
    print('{"score": 0.0}')
    return 1.0


def text(answer: str, reference_answer: str) -> str:
    return "right"


no_function = 3
