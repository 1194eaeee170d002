"""The values of the trees of `latex.parser`. Runs in a worker and imports nothing of echorl."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Tree = Sequence[Any]

NUM_POINTS = 2
"""Number of points at which symbols are evaluated."""


class Unknown(Exception):
    """The trees can't be compared here."""


def points(*trees: Tree) -> list[Mapping[str, Any]]:
    """Points at which trees are compared: values of their symbols, the same in every process."""
    import mpmath

    names = sorted(set().union(*map(symbols, trees)))
    if not names:
        return [{}]
    draw = _whole_number if any(map(_has_divisors, trees)) else _real_number
    return [{name: mpmath.mpf(draw(random.Random(f"{name} {n}"))) for name in names} for n in range(NUM_POINTS)]


def _real_number(generator: random.Random) -> float:
    return generator.uniform(0.6, 2.4)


def _whole_number(generator: random.Random) -> int:
    """A number that is likely to share divisors with another one."""
    return math.prod(prime ** generator.randrange(4) for prime in (2, 3, 5, 7))


def _has_divisors(tree: Tree) -> bool:
    """Return whether the tree has a greatest common divisor or a least common multiple in it."""
    if tree[0] == "fn" and tree[1] in ("gcd", "lcm"):
        return True
    return any(_has_divisors(part) for part in tree[1:] if not isinstance(part, str))


def symbols(tree: Tree) -> set[str]:
    """Names of the symbols in a tree."""
    if tree[0] == "sym":
        return {tree[1]}
    return set().union(*(symbols(part) for part in tree[1:] if not isinstance(part, str)))


def evaluate(tree: Tree, point: Mapping[str, Any]) -> Any:
    """The tree's value, an mpmath number, with the symbols' values from `point`.

    Raises:
        Unknown: it has no value here.
    """
    import mpmath

    kind, *parts = tree
    if kind == "num":
        return mpmath.mpf(parts[0])
    if kind == "sym":
        return point[parts[0]]
    if kind == "const":
        return {"pi": +mpmath.pi, "e": +mpmath.e, "i": mpmath.j, "infty": mpmath.inf}[parts[0]]
    if kind == "fn":
        return _function(parts[0], parts[1], point)
    if kind not in _OPERATIONS:
        raise Unknown
    return _OPERATIONS[kind](*(evaluate(part, point) for part in parts))


def _function(name: str, argument: Tree, point: Mapping[str, Any]) -> Any:
    import mpmath

    if argument[0] == "seq":
        return _of_list(name, [evaluate(item, point) for item in argument[3:]])
    functions = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
    return getattr(mpmath, functions.get(name, name))(evaluate(argument, point))


def _of_list(name: str, values: list[Any]) -> Any:
    if name in ("max", "min"):
        return max(values) if name == "max" else min(values)
    if name not in ("gcd", "lcm") or any(value != int(value) for value in values):
        raise Unknown
    return values[0] * 0 + (math.gcd if name == "gcd" else math.lcm)(*map(int, values))


def _sum(*values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total += value
    return total


def _product(*values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total *= value
    return total


def _mp(name: str) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        import mpmath

        return getattr(mpmath, name)(*values)

    return call


def _root(degree: Any, value: Any) -> Any:
    import mpmath

    if value.real < 0 and value.imag == 0 and degree == int(degree.real) and int(degree.real) % 2:
        return -mpmath.root(-value, int(degree.real))  # the real root
    return value ** (1 / degree)


_OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "+": _sum,
    "*": _product,
    "neg": lambda value: -value,
    "/": lambda over, under: over / under,
    "^": lambda base, exponent: base**exponent,
    "pct": lambda value: value / 100,
    "root": _root,
    "fact": _mp("factorial"),
    "binom": _mp("binomial"),
    "abs": lambda value: abs(value),
    "floor": _mp("floor"),
    "ceil": _mp("ceil"),
    "log": lambda base, value: _mp("log")(value) / _mp("log")(base),
}
