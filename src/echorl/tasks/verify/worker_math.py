"""The functions of math-verify's workers: `worker` loads this file by its path; it imports nothing of echorl."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


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


def warm_up() -> None:
    """Compile what every call needs."""
    math_equal("\\frac{1}{2}", "x+1")


FUNCTIONS = {function.__name__: function for function in (math_equal, text_equal, latex_value)}
