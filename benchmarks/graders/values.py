"""Comparison of two texts by their values at random points and by the structure of lists and equations."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import lru_cache

import mpmath

from benchmarks.graders.latex import Node, Unreadable, parse, split

POINTS = 5
DIGITS = 40
EXACT = mpmath.mpf("1e-25")
RELATIONS = ("=", "<", ">", "\\le", "\\leq", "\\leqslant", "\\ge", "\\geq", "\\geqslant", "\\in", "\\ne", "\\neq")
CALLS: dict[str, Callable[..., mpmath.mpf]] = {
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "cot": mpmath.cot,
    "ln": mpmath.ln,
    "log": mpmath.ln,
    "exp": mpmath.exp,
    "arcsin": mpmath.asin,
    "arccos": mpmath.acos,
    "arctan": mpmath.atan,
    "floor": mpmath.floor,
    "ceiling": mpmath.ceil,
    "factorial": mpmath.gamma,
    "binomial": mpmath.binomial,
}


def may_equal(a: str, b: str) -> bool:
    """Return False only if the two texts certainly differ; `Unreadable` if one of them cannot be read."""
    return _same(structure(a), structure(b), EXACT)


def far_apart(reference: str, answer: str) -> bool:
    """Return whether the answer certainly differs: by over 2 % where the reference has a decimal point or an `e`."""
    tolerance = mpmath.mpf("0.02") if re.search(r"[0-9]?\.[0-9]|[0-9][eE]-?[0-9]", reference) else EXACT
    return not _same(structure(reference), structure(answer), tolerance)


@lru_cache(maxsize=4096)
def structure(text: str) -> Node:
    """The structure of a text.

    It is ("list", ...), ("relation", "=", left, right), ("union", ...), ("bracket", "(", "]", ...) or ("value", x). A
    matrix is a bracket of the kind "matrix" with its width and its cells.
    """
    parts, _ = split(text, (",",))
    if len(parts) > 1:
        return ("list", *map(structure, parts))
    parts, signs = split(text, RELATIONS)
    if signs:
        if len(parts) != 2 or not all(parts):
            raise Unreadable(text)
        return ("relation", signs[0], structure(parts[0]), structure(parts[1]))
    parts, _ = split(text, ("\\cup",))
    if len(parts) > 1:
        return ("union", *map(structure, parts))
    return _bracket(text) or _matrix(text) or ("value", parse(text))


def _bracket(text: str) -> Node | None:
    match = re.fullmatch(r"(\(|\[|\\\{)(.*?)(\)|\]|\\\})", text.strip(), re.DOTALL)
    if match is None:
        return None
    inner = split(match[2], (",",))[0] if balanced(match[2]) else [""]
    if len(inner) < 2 and match[1] != "\\{":
        return None
    return ("bracket", match[1], match[3], *map(structure, inner))


def balanced(text: str) -> bool:
    """Return whether every bracket that closes was opened before."""
    depth = 0
    for sign in text:
        depth += sign in "([{"
        depth -= sign in ")]}"
        if depth < 0:
            return False
    return depth == 0


def _matrix(text: str) -> Node | None:
    match = re.fullmatch(r"\\begin\{pmatrix\}(.*)\\end\{pmatrix\}", text.strip(), re.DOTALL)
    if match is None:
        return None
    rows = [row.split("&") for row in match[1].split("\\\\")]
    return ("bracket", "matrix", str(len(rows[0])), *(structure(cell.strip()) for row in rows for cell in row))


def _same(a: Node, b: Node, tolerance: mpmath.mpf) -> bool:
    if a[0] != b[0]:
        return False
    if a[0] == "value":
        return all(_close(*_both(a[1], b[1], point), tolerance) for point in range(POINTS))
    if a[0] in ("list", "union") or a[:2] == b[:2] == ("bracket", "\\{"):
        start = 3 if a[0] == "bracket" else 1
        return _same_in_any_order(list(a[start:]), list(b[start:]), tolerance)
    if a[0] == "bracket":
        pairs = zip(a[3:], b[3:], strict=False)
        return a[1:3] == b[1:3] and len(a) == len(b) and all(_same(*pair, tolerance) for pair in pairs)
    if a[1] == b[1] == "=" and a[2][0] == a[3][0] == b[2][0] == b[3][0] == "value":
        return _same_equation(a, b, tolerance)
    return a[1] == b[1] and _same(a[2], b[2], tolerance) and _same(a[3], b[3], tolerance)


def _same_in_any_order(a: list[Node], b: list[Node], tolerance: mpmath.mpf) -> bool:
    if len(a) != len(b):
        return False
    for item in a:
        match = next((candidate for candidate in b if _same(item, candidate, tolerance)), None)
        if match is None:
            return False
        b.remove(match)
    return True


def _same_equation(a: Node, b: Node, tolerance: mpmath.mpf) -> bool:
    """Return whether one equation may be a multiple of the other: the ratio of their differences is constant."""
    ratios = []
    for point in range(POINTS):
        with mpmath.workdps(DIGITS):
            above, below = (value(n[2][1], point) - value(n[3][1], point) for n in (a, b))
            if abs(below) < mpmath.mpf(10) ** -30:
                return True
            ratios.append(above / below)
    return all(_close(ratio, ratios[0], tolerance) for ratio in ratios)


def _both(a: Node, b: Node, point: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    with mpmath.workdps(DIGITS):
        return value(a, point), value(b, point)


def _close(a: mpmath.mpf, b: mpmath.mpf, tolerance: mpmath.mpf) -> bool:
    with mpmath.workdps(DIGITS):
        return bool(abs(a - b) <= tolerance * max(abs(a), abs(b)))


def value(node: Node, point: int) -> mpmath.mpf:
    """The value of an expression in which each name has one random value."""
    kind, parts = node[0], node[1:]
    if kind == "number":
        return mpmath.mpf(parts[0])
    if kind == "name":
        return _value_of_name(parts[0], point)
    if kind == "based":
        return mpmath.mpf(int(parts[0], parts[1]) if parts[1] <= 36 else 0)
    if kind == "mixed":
        return mpmath.mpf(parts[0]) + mpmath.mpf(parts[1]) / mpmath.mpf(parts[2])
    return _combined(kind, node, point)


def _combined(kind: str, node: Node, point: int) -> mpmath.mpf:
    try:
        if kind == "call":
            argument = value(node[2], point)
            argument = argument + 1 if node[1] == "factorial" else argument
            return CALLS[node[1]](argument, *(value(part, point) for part in node[3:]))
        values = [value(part, point) for part in node[1:]]
        if kind == "sum":
            return mpmath.fsum(values)
        if kind == "product":
            return mpmath.fprod(values)
        if kind == "minus":
            return -values[0]
        if kind == "root":
            return values[0] ** (1 / values[1])
        return values[0] / values[1] if kind == "over" else values[0] ** values[1]
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise Unreadable(f"no value: {node}") from error


@lru_cache(maxsize=4096)
def _value_of_name(name: str, point: int) -> mpmath.mpf:
    with mpmath.workdps(DIGITS):
        fixed = {"i": mpmath.mpc(0, 1), "e": +mpmath.e, "pi": +mpmath.pi}
        if name in fixed:
            return fixed[name]
        return mpmath.mpf(random.Random(f"{name}, {point}").randrange(10**20, 9 * 10**20)) / 10**20
