"""Exact values of trees that are rational numbers, and the symbols and decimals in a tree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

from echorl.tasks.verify.latex.product import Tree

MAX_DIGITS = 1200
"""Largest number of digits of a number that is computed exactly."""


def has_symbols(tree: Tree) -> bool:
    """Return whether a tree has a letter that is not a constant."""
    return any(True for _ in symbols_of(tree))


def symbols_of(tree: Tree) -> Iterator[str]:
    """Yield the names of a tree's symbols, one for each place."""
    if tree[0] == "sym":
        yield tree[1]
    for part in tree[1:]:
        if isinstance(part, tuple):
            yield from symbols_of(part)


def has_decimals(tree: Tree) -> bool:
    """Return whether a number in the tree has a decimal point."""
    if tree[0] == "num":
        return "." in tree[1]
    return any(has_decimals(part) for part in tree[1:] if isinstance(part, tuple))


def rational(tree: Tree) -> Fraction | None:
    """The tree's exact value; None if it has more than numbers, the four operations, whole powers and factorials."""
    kind, *parts = tree
    if kind == "num":
        return _fraction(parts[0])
    if kind == "fn" and parts[0] in ("gcd", "lcm", "max", "min"):
        return _of_list(parts[0], parts[1])
    if kind not in ("+", "neg", "*", "/", "^", "fact"):
        return None
    values = [rational(part) for part in parts]
    if any(value is None for value in values):
        return None
    value = _combined(kind, [value for value in values if value is not None])
    return value if value is not None and max(map(abs, value.as_integer_ratio())) < 10**MAX_DIGITS else None


def _of_list(name: str, items: Tree) -> Fraction | None:
    values = [rational(item) for item in items[3:]] if items[0] == "seq" else []
    numbers = [value for value in values if value is not None]
    if not numbers or len(numbers) < len(values):
        return None
    if name in ("max", "min"):
        return max(numbers) if name == "max" else min(numbers)
    if any(number.denominator != 1 for number in numbers):
        return None
    return Fraction((math.gcd if name == "gcd" else math.lcm)(*map(int, numbers)))


def _fraction(digits: str) -> Fraction | None:
    number, _, power = digits.lower().partition("e")
    return Fraction(digits) if len(number) + abs(int(power or 0)) <= MAX_DIGITS else None


def _combined(kind: str, values: list[Fraction]) -> Fraction | None:
    first, *operands = values
    if kind == "neg":
        return -first
    if kind == "/":
        return first / operands[0] if operands[0] else None
    if kind == "fact":
        is_small = first.denominator == 1 and 0 <= first <= MAX_DIGITS
        return Fraction(math.factorial(int(first))) if is_small else None
    if kind == "^":
        exponent = operands[0]
        size = max(map(abs, first.as_integer_ratio())).bit_length() * abs(exponent)
        return (
            first**exponent.numerator
            if exponent.denominator == 1 and size < 4 * MAX_DIGITS and (first or exponent > 0)
            else None
        )
    for value in operands:
        first = first + value if kind == "+" else first * value
    return first
