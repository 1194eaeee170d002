"""The functions of math-verify's workers. `worker` imports this file without the rest of echorl.

Trees are those of `latex.parser`, as lists, which is what JSON makes of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify

from .tree_numbers import Tree
from .tree_values import differ


def math_equal(
    reference: str, answer: str, reference_tree: Tree | None = None, answer_tree: Tree | None = None
) -> bool:
    """Return whether math-verify finds both texts (LaTeX without delimiters) equal and their trees do not differ.

    Only math-verify decides where a text has no tree.
    """
    if reference_tree is not None and answer_tree is not None and differ(reference_tree, answer_tree):
        return False
    return verify(_boxed(reference), _parse_boxed(answer), timeout_seconds=None)


def _parse_boxed(latex: str) -> list[Any]:
    readings = parse(f"\\boxed{{{latex}}}", [LatexExtractionConfig()], parsing_timeout=None)
    return [_with_imaginary_unit(reading) for reading in readings]


def _with_imaginary_unit(reading: Any) -> Any:
    """The expression with the imaginary unit in place of the symbol i, which math-verify does not replace."""
    if not isinstance(reading, (sympy.Basic, sympy.MatrixBase)):
        return reading
    units = [symbol for symbol in reading.free_symbols if symbol.name == "i"]
    return reading.subs(units[0], sympy.I) if units else reading


@lru_cache(maxsize=256)
def _boxed(reference: str) -> list[Any]:
    return _parse_boxed(reference)


def latex_value(answer: str) -> float | None:
    """The real value of the LaTeX; None if math-verify reads no real number in it."""
    for reading in _parse_boxed(answer):
        value = getattr(reading, "rhs", reading)  # the 5 of x = 5
        if getattr(value, "is_number", False) and value.is_extended_real:
            return float(value.evalf())
    return None


def warm_up() -> None:
    """Compile what every call needs."""
    math_equal("\\frac{1}{2}", "x+1", ["num", "1"], ["num", "1"])


FUNCTIONS = {function.__name__: function for function in (math_equal, latex_value)}
