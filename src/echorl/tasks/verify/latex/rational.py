"""The exact value of a tree that is a rational number, and whether a tree has symbols or decimals."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from echorl.tasks.verify.latex.product import Tree
from echorl.tasks.verify.trees import nodes

MAX_DIGITS = 1200
"""Largest number of digits of a number that is computed exactly."""


def has_symbols(tree: Tree) -> bool:
    """Return whether a tree has a letter that is not a constant."""
    return any(node[0] == "sym" for node in nodes(tree))


def has_decimals(tree: Tree) -> bool:
    """Return whether a number in the tree has a decimal point."""
    return any(node[0] == "num" and "." in node[1] for node in nodes(tree))


def rational(tree: Tree) -> Fraction | None:
    """The tree's exact value; None if it has more than numbers, the four operations, whole powers and factorials."""
    kind, *parts = tree
    if kind == "num":
        return _fraction(parts[0])
    function = _FUNCTIONS.get(parts[0]) if kind == "fn" and parts[1][0] == "seq" else _OPERATIONS.get(kind)
    values = [] if function is None else [rational(part) for part in (parts[1][3:] if kind == "fn" else parts)]
    numbers = [value for value in values if value is not None]
    if function is None or not numbers or len(numbers) < len(values):
        return None
    value = function(*numbers)
    return value if value is not None and max(map(abs, value.as_integer_ratio())) < 10**MAX_DIGITS else None


def _fraction(digits: str) -> Fraction | None:
    number, _, power = digits.lower().partition("e")
    return Fraction(digits) if len(number) + abs(int(power or 0)) <= MAX_DIGITS else None


def _factorial(value: Fraction) -> Fraction | None:
    is_small = value.denominator == 1 and 0 <= value <= MAX_DIGITS
    return Fraction(math.factorial(int(value))) if is_small else None


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    size = max(map(abs, base.as_integer_ratio())).bit_length() * abs(exponent)
    is_small = exponent.denominator == 1 and size < 4 * MAX_DIGITS
    return base**exponent.numerator if is_small and (base or exponent > 0) else None


def _of_whole(function: Callable[..., int], values: Sequence[Fraction]) -> Fraction | None:
    are_whole = all(value.denominator == 1 for value in values)
    return Fraction(function(*map(int, values))) if are_whole else None


_OPERATIONS: Mapping[str, Callable[..., Fraction | None]] = {
    "+": lambda *values: sum(values, Fraction()),
    "*": lambda *values: math.prod(values, start=Fraction(1)),
    "neg": operator.neg,
    "/": lambda over, under: over / under if under else None,
    "^": _power,
    "fact": _factorial,
}
_FUNCTIONS: Mapping[str, Callable[..., Fraction | None]] = {
    "max": lambda *values: max(values),
    "min": lambda *values: min(values),
    "gcd": lambda *values: _of_whole(math.gcd, values),
    "lcm": lambda *values: _of_whole(math.lcm, values),
}
