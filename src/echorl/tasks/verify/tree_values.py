"""Whether two trees of `latex.parser` have different values. Runs in a worker and imports nothing of echorl.

Trees that this module can't evaluate count as not different; math-verify alone decides on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .tree_numbers import Tree, Unknown, evaluate, points, symbols

DIGITS = 60
"""Decimal digits of the values that are compared."""
EXACT, ROUNDED = 1e-25, 1e-6
"""Relative difference that two equal values may have, and that a rounded one may have to an exact one."""
NOTHING = 1e-45
"""A number below this size is 0 up to rounding."""
SIGNIFICANT = 5
"""A decimal number with at least so many significant digits may stand for any value that rounds to it."""

_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "=": "=", "ne": "ne"}
_OPEN = {"<": True, ">": True, "le": False, "ge": False}


def differ(gold: Tree, answer: Tree) -> bool:
    """Return whether the answer certainly differs from the gold one; False where that can't be decided."""
    import mpmath

    try:
        with mpmath.workdps(DIGITS):
            return not same(gold, answer)
    except (Unknown, ArithmeticError, ValueError, TypeError, mpmath.libmp.NoConvergence):
        return False


def same(gold: Tree, answer: Tree) -> bool:
    """Return whether both have equal values.

    Raises:
        Unknown: this can't be decided.
    """
    if "rel" in (gold[0], answer[0]):
        return _same_relation(gold, answer)
    if _is_collection(gold) or _is_collection(answer):
        return _same_collection(gold, answer)
    if "matrix" in (gold[0], answer[0]):
        if gold[0] != answer[0] and (_has_matrix(gold) and _has_matrix(answer)):
            raise Unknown  # a number times a matrix
        return gold[0] == answer[0] and _same_rows(gold[1:], answer[1:])
    if answer[0] == "base":
        return gold[0] == "base" and list(gold[1:]) == list(answer[1:])
    if gold[0] == "base":  # the question may ask for the digits alone
        return answer[0] == "num" and answer[1] == gold[1]
    if "text" in (gold[0], answer[0]):
        raise Unknown
    return _same_number(gold, answer)


# Relations


def _same_relation(gold: Tree, answer: Tree) -> bool:
    if answer[0] == "rel" and "approx" in answer[1].split():
        return _same_as_rounded(gold, answer)
    if gold[0] != "rel":
        return _same_as_side(gold, answer)
    if answer[0] != "rel":
        if _is_definition(gold) or gold[1] == "in":
            return same(gold[-1], answer)
        interval = _interval(gold)
        return answer[0] != "seq" or interval is None or same(interval, answer)
    if _is_definition(gold) and _is_definition(answer) and list(gold[2]) == list(answer[2]):
        return same(gold[-1], answer[-1])
    return _same_two_sides(gold, answer)


def _same_as_side(gold: Tree, answer: Tree) -> bool:
    """A relation as the answer to a gold value: x = 5 for 5; what stands before must be equal where it is a number."""
    if answer[1] == "in":
        return same(gold, answer[-1])
    if set(answer[1].split()) != {"="}:
        interval = _interval(answer)
        return gold[0] == "seq" and interval is not None and same(gold, interval)
    sides = answer[2:]
    return same(gold, sides[-1]) and all(symbols(side) or same(sides[-1], side) for side in sides[:-1])


def _same_as_rounded(gold: Tree, answer: Tree) -> bool:
    """A value and what it rounds to: either is the gold one, and the rounding is right."""
    operators, sides = answer[1].split(), answer[2:]
    place = operators.index("approx")
    exact = ["rel", " ".join(operators[:place]), *sides[: place + 1]] if place else sides[0]
    if not all(map(_is_rounded, sides[place:], sides[place + 1 :])):
        return False
    return same(gold, exact) or (same(gold, sides[-1]) and same(sides[place], exact))


def _is_rounded(value: Tree, rounded: Tree) -> bool:
    exact, other = evaluate(value, {}), evaluate(rounded, {})
    if not _is_plain(rounded) or rounded[0] == "*":
        return abs(exact - other) <= 0.005 * abs(exact)
    decimals = (rounded[1] if rounded[0] == "neg" else rounded)[1].partition(".")[2]
    return abs(exact - other) <= (1.01 * 10.0 ** -len(decimals) if decimals else 0.51)


def _is_definition(tree: Tree) -> bool:
    """Return whether it is an equation of a symbol, or of a function of symbols, with something else."""
    left = tree[2]
    return set(tree[1].split()) == {"="} and (
        left[0] == "sym" or (left[0] == "*" and all(part[0] == "sym" for part in left[1:]))
    )


def _interval(tree: Tree) -> Tree | None:
    """The interval that an inequality of one symbol names; None if it names none."""
    operators, sides = tree[1].split(), tree[2:]
    if len(operators) > 2 or not set(operators) <= set(_OPEN):
        return None
    if len(operators) == 1 and sides[1][0] == "sym":
        operators, sides = [_FLIPPED[operators[0]]], sides[::-1]
    if len(operators) == 1 and sides[0][0] == "sym":
        is_open, is_above = _OPEN[operators[0]], operators[0] in (">", "ge")
        ends = (sides[1], ["const", "infty"]) if is_above else (["neg", ["const", "infty"]], sides[1])
        brackets = ("(" if is_open or not is_above else "[", ")" if is_open or is_above else "]")
        return ["seq", *brackets, *ends]
    if len(operators) == 2 and sides[1][0] == "sym" and (operators[0] in (">", "ge")) == (operators[1] in (">", "ge")):
        if operators[0] in (">", "ge"):
            operators, sides = [_FLIPPED[sign] for sign in operators[::-1]], sides[::-1]
        return ["seq", "(" if _OPEN[operators[0]] else "[", ")" if _OPEN[operators[1]] else "]", sides[0], sides[2]]
    return None


def _same_two_sides(gold: Tree, answer: Tree) -> bool:
    """Two equations or inequalities: if both are differences of their sides, one must be a multiple of the other."""
    if len(gold) != 4 or len(answer) != 4 or gold[1] in ("in", "ne") or answer[1] in ("in", "ne"):
        raise Unknown
    if symbols(gold) != symbols(answer):
        return False
    ratios = [_difference(gold, point) / _difference(answer, point) for point in points(gold, answer)]
    if any(abs(ratio - ratios[0]) > 1e-20 * abs(ratio) for ratio in ratios):
        if "=" in (gold[1], answer[1]):
            raise Unknown  # x/y = 2 and x = 2y
        return False
    flipped = _FLIPPED[answer[1]] if ratios[0].real < 0 else answer[1]
    return gold[1] == flipped


def _difference(tree: Tree, point: Mapping[str, Any]) -> Any:
    return evaluate(tree[2], point) - evaluate(tree[3], point)


# Lists, tuples, intervals, sets


def _is_collection(tree: Tree) -> bool:
    return tree[0] in ("list", "seq", "cup", "cap", "setminus")


def _same_collection(gold: Tree, answer: Tree) -> bool:
    if "cap" in (gold[0], answer[0]) or "setminus" in (gold[0], answer[0]):
        raise Unknown
    items, others = _items(gold), _items(answer)
    if "cup" in (gold[0], answer[0]) and len(items) != len(others):
        raise Unknown  # (0, 1) and [1, 2) are (0, 2)
    if len(items) != len(others):
        return False
    if _is_ordered(gold) and _is_ordered(answer):
        return list(gold[1:3]) == list(answer[1:3]) and all(map(same, items, others))
    if _is_ordered(gold) and answer[0] == "seq":
        return False  # a set has no order
    if _have_names(items) and not any(item[0] == "rel" for item in others):
        return all(map(same, items, others))
    return _match(items, others)


def _items(tree: Tree) -> list[Tree]:
    """The members; of a union its parts; of anything else itself."""
    if tree[0] == "cup":
        return [*_items_of_union(tree[1]), *_items_of_union(tree[2])]
    if tree[0] == "list":
        return _without_names(list(tree[1:]))
    return list(tree[3:]) if tree[0] == "seq" else [tree]


def _items_of_union(tree: Tree) -> list[Tree]:
    return _items(tree) if tree[0] == "cup" or tree[1] == "{" else [tree]


def _without_names(items: list[Tree]) -> list[Tree]:
    """x = 1, 2 is the list of 1 and 2, if 1 alone has a name."""
    first, *rest = items
    if first[0] == "rel" and _is_definition(first) and all(item[0] != "rel" for item in rest):
        return [first[-1], *rest]
    return items


def _have_names(items: list[Tree]) -> bool:
    """Return whether each is the value of a letter of its own; x_1 and x_2 are two values of x."""
    names = [str(item[2]).partition("_")[0] for item in items if item[0] == "rel" and _is_definition(item)]
    return len(set(names)) == len(items) > 1


def _is_ordered(tree: Tree) -> bool:
    return tree[0] == "seq" and tree[1] != "{"


def _match(items: list[Tree], others: list[Tree]) -> bool:
    """Return whether each item has an equal one of its own among the others."""
    rest = list(others)
    for item in items:
        equal = next((n for n, other in enumerate(rest) if same(item, other)), None)
        if equal is None:
            return False
        rest.pop(equal)
    return True


def _has_matrix(tree: Tree) -> bool:
    return tree[0] == "matrix" or any(_has_matrix(part) for part in tree[1:] if not isinstance(part, str))


def _same_rows(rows: Sequence[Tree], others: Sequence[Tree]) -> bool:
    shapes = [[len(row) for row in table] for table in (rows, others)]
    return shapes[0] == shapes[1] and all(
        same(*pair) for row, other in zip(rows, others, strict=True) for pair in zip(row[1:], other[1:], strict=True)
    )


# Numbers


def _same_number(gold: Tree, answer: Tree) -> bool:
    if "pct" in (gold[0], answer[0]):
        return _same_percentage(gold, answer)
    tolerance = EXACT
    if _is_decimal(gold) != _is_decimal(answer) and not (_is_plain(gold) and _is_plain(answer)):
        tolerance = _rounding(gold if _is_decimal(gold) else answer)
    return all(_close(evaluate(gold, point), evaluate(answer, point), tolerance) for point in points(gold, answer))


def _same_percentage(gold: Tree, answer: Tree) -> bool:
    """50 % is 50 where a percentage was asked for, else 0.5."""
    if gold[0] == answer[0]:
        return same(gold[1], answer[1])
    percentage, other = (gold, answer) if gold[0] == "pct" else (answer, gold)
    return same(percentage[1], other) or same(["/", percentage[1], ["num", "100"]], other)


def _is_plain(tree: Tree) -> bool:
    """Return whether it is a number as it is written, a power of ten beside it or not."""
    if tree[0] == "*" and len(tree) == 3 and tree[2][0] == "^" and list(tree[2][1]) == ["num", "10"]:
        tree = tree[1]
    return tree[0] == "num" or (tree[0] == "neg" and tree[1][0] == "num")


def _is_decimal(tree: Tree) -> bool:
    number = tree[1] if tree[0] == "neg" else tree
    return number[0] == "num" and "." in number[1]


def _rounding(tree: Tree) -> float:
    """The relative error that a decimal number may have."""
    digits = (tree[1] if tree[0] == "neg" else tree)[1].lower().partition("e")[0]
    significant = digits.replace(".", "").lstrip("0")
    if len(significant) < SIGNIFICANT:
        return ROUNDED
    return max(ROUNDED, 0.51 / int(significant))


def _close(value: Any, other: Any, tolerance: float) -> bool:
    import mpmath

    if mpmath.isnan(value) or mpmath.isnan(other):
        raise Unknown
    if mpmath.isinf(value) or mpmath.isinf(other):
        return value == other
    distance = abs(value - other)
    return distance <= tolerance * max(abs(value), abs(other)) or distance < NOTHING
