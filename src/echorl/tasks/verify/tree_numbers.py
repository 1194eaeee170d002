"""The values of the trees of `latex.parser`. `worker` imports this file without the rest of echorl."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import mpmath

from .trees import nodes

Tree = Sequence[Any]

NUM_POINTS = 2
"""Number of points at which symbols are evaluated."""


class Unknown(Exception):
    """The trees can't be compared here."""


def points(*trees: Tree) -> list[Mapping[str, Any]]:
    """Points at which trees are compared: values of their symbols, the same in every process."""
    names = sorted(set().union(*map(symbols, trees)))
    if not names:
        return [{}]
    has_divisors = any(node[0] == "fn" and node[1] in _DIVISORS for tree in trees for node in nodes(tree))
    draw = _whole_number if has_divisors else _real_number
    return [{name: mpmath.mpf(draw(random.Random(f"{name} {n}"))) for name in names} for n in range(NUM_POINTS)]


def _real_number(generator: random.Random) -> float:
    return generator.uniform(0.6, 2.4)


def _whole_number(generator: random.Random) -> int:
    """A number that is likely to share divisors with another one."""
    return math.prod(prime ** generator.randrange(4) for prime in (2, 3, 5, 7))


def symbols(tree: Tree) -> set[str]:
    """Names of the symbols in a tree."""
    return {node[1] for node in nodes(tree) if node[0] == "sym"}


def evaluate(tree: Tree, point: Mapping[str, Any]) -> Any:
    """The tree's value, an mpmath number, with the symbols' values from `point`.

    Raises:
        Unknown: it has no value here.
    """
    kind, *parts = tree
    match kind:
        case "num":
            return mpmath.mpf(parts[0])
        case "sym":
            return point[parts[0]]
        case "const":
            return {"pi": +mpmath.pi, "e": +mpmath.e, "i": mpmath.j, "infty": mpmath.inf}[parts[0]]
        case "fn" if parts[1][0] == "seq":
            return _of_list(parts[0], [evaluate(item, point) for item in parts[1][3:]])
        case "fn":
            return getattr(mpmath, str(_FUNCTIONS.get(parts[0], parts[0])))(evaluate(parts[1], point))
    if kind not in _OPERATIONS:
        raise Unknown
    return _OPERATIONS[kind](*(evaluate(part, point) for part in parts))


def _of_list(name: str, values: list[Any]) -> Any:
    if name in ("max", "min"):
        return {"max": max, "min": min}[name](values)
    if name not in _DIVISORS or any(value != int(value) for value in values):
        raise Unknown
    return values[0] * 0 + _DIVISORS[name](*map(int, values))


def _root(degree: Any, value: Any) -> Any:
    if value.real < 0 and value.imag == 0 and degree == int(degree.real) and int(degree.real) % 2:
        return -mpmath.root(-value, int(degree.real))  # the real root
    return value ** (1 / degree)


_DIVISORS: Mapping[str, Callable[..., int]] = {"gcd": math.gcd, "lcm": math.lcm}
_FUNCTIONS: Mapping[Any, str] = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": lambda *values: reduce(operator.add, values),
    "*": lambda *values: reduce(operator.mul, values),
    "neg": operator.neg,
    "/": operator.truediv,
    "^": operator.pow,
    "pct": lambda value: value / 100,
    "root": _root,
    "fact": mpmath.factorial,
    "binom": mpmath.binomial,
    "abs": abs,
    "floor": mpmath.floor,
    "ceil": mpmath.ceil,
    "log": lambda base, value: mpmath.log(value) / mpmath.log(base),
}
