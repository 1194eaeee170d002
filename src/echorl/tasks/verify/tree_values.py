"""Comparison of the values of two trees of `latex.parser`. `worker` imports this file without the rest of echorl.

Trees that this module cannot evaluate count as not different, so that only math-verify decides on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mpmath

from .tree_numbers import Tree, Unknown, evaluate, points, symbols
from .trees import nodes

DIGITS = 60
"""Decimal digits of the values that are compared."""
EXACT, ROUNDED = 1e-25, 1e-6
"""Relative difference that two equal values may have, and that a rounded one may have to an exact one."""
ZERO = 1e-45
"""A number below this size is 0 up to rounding."""
SIGNIFICANT = 5
"""A decimal number with at least so many significant digits may stand for any value that rounds to it."""

_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le", "=": "=", "ne": "ne"}
_OPEN = {"<": True, ">": True, "le": False, "ge": False}


def differ(reference: Tree, answer: Tree) -> bool:
    """Return whether the answer certainly differs from the reference answer; False where that can't be decided."""
    try:
        with mpmath.workdps(DIGITS):
            return not same(reference, answer)
    except (Unknown, ArithmeticError, ValueError, TypeError, mpmath.libmp.NoConvergence):
        return False


def same(reference: Tree, answer: Tree) -> bool:
    """Return whether both have equal values.

    Raises:
        Unknown: this can't be decided.
    """
    if "rel" in (reference[0], answer[0]):
        return _same_relation(reference, answer)
    if _is_collection(reference) or _is_collection(answer):
        return _same_collection(reference, answer)
    if "matrix" in (reference[0], answer[0]):
        if reference[0] != answer[0] and (_has_matrix(reference) and _has_matrix(answer)):
            raise Unknown  # a number times a matrix
        return reference[0] == answer[0] and _same_rows(reference[1:], answer[1:])
    if answer[0] == "base":
        return reference[0] == "base" and list(reference[1:]) == list(answer[1:])
    if reference[0] == "base":  # the question may ask for the digits
        return answer[0] == "num" and answer[1] == reference[1]
    if "text" in (reference[0], answer[0]):
        raise Unknown
    return _same_number(reference, answer)


# Relations


def _same_relation(reference: Tree, answer: Tree) -> bool:
    if answer[0] == "rel" and "approx" in answer[1].split():
        return _same_as_rounded(reference, answer)
    if reference[0] != "rel":
        return _same_as_side(reference, answer)
    if answer[0] != "rel":
        if _is_definition(reference) or reference[1] == "in":
            return same(reference[-1], answer)
        interval = _interval(reference)
        return answer[0] != "seq" or interval is None or same(interval, answer)
    if _is_definition(reference) and _is_definition(answer) and list(reference[2]) == list(answer[2]):
        return same(reference[-1], answer[-1])
    return _same_two_sides(reference, answer)


def _same_as_side(reference: Tree, answer: Tree) -> bool:
    """Return whether a relation answers a reference value: x = 5 for 5. All sides that are numbers must be equal."""
    if answer[1] == "in":
        return same(reference, answer[-1])
    if set(answer[1].split()) != {"="}:
        interval = _interval(answer)
        return reference[0] == "seq" and interval is not None and same(reference, interval)
    sides = answer[2:]
    return same(reference, sides[-1]) and all(symbols(side) or same(sides[-1], side) for side in sides[:-1])


def _same_as_rounded(reference: Tree, answer: Tree) -> bool:
    """Return whether a value or its rounded value is the reference answer, and the rounding is right."""
    operators, sides = answer[1].split(), answer[2:]
    position = operators.index("approx")
    exact = ["rel", " ".join(operators[:position]), *sides[: position + 1]] if position else sides[0]
    if not all(map(_is_rounded, sides[position:], sides[position + 1 :])):
        return False
    return same(reference, exact) or (same(reference, sides[-1]) and same(sides[position], exact))


def _is_rounded(value: Tree, rounded: Tree) -> bool:
    exact, approximate = evaluate(value, {}), evaluate(rounded, {})
    if not _is_plain(rounded) or rounded[0] == "*":
        return abs(exact - approximate) <= 0.005 * abs(exact)
    decimals = (rounded[1] if rounded[0] == "neg" else rounded)[1].partition(".")[2]
    return abs(exact - approximate) <= (1.01 * 10.0 ** -len(decimals) if decimals else 0.51)


def _is_definition(tree: Tree) -> bool:
    """Return whether the relation is an equation whose left side is a symbol or a function of symbols."""
    left = tree[2]
    return set(tree[1].split()) == {"="} and (
        left[0] == "sym" or (left[0] == "*" and all(part[0] == "sym" for part in left[1:]))
    )


def _interval(tree: Tree) -> Tree | None:
    """The interval that an inequality of one symbol names; None if it names none."""
    operators, sides = tree[1].split(), list(tree[2:])
    if len(operators) > 2 or not set(operators) <= set(_OPEN):
        return None
    is_rising = operators[0] in ("<", "le")
    if len(operators) == 1:  # x < 3 is -infty < x < 3
        end, infinity = (2 if sides[1][0] == "sym" else 0), ["const", "infty"]
        sides.insert(end, infinity if is_rising == (end == 2) else ["neg", infinity])
        operators.insert(end, "<" if is_rising else ">")
    if not is_rising:
        operators, sides = [_FLIPPED[sign] for sign in reversed(operators)], sides[::-1]
    if sides[1][0] != "sym" or not set(operators) <= {"<", "le"}:
        return None
    return ["seq", "(" if _OPEN[operators[0]] else "[", ")" if _OPEN[operators[1]] else "]", sides[0], sides[2]]


def _same_two_sides(reference: Tree, answer: Tree) -> bool:
    """Return whether one of two equations or inequalities is a multiple of the other, both as differences of sides."""
    if len(reference) != 4 or len(answer) != 4 or reference[1] in ("in", "ne") or answer[1] in ("in", "ne"):
        raise Unknown
    if symbols(reference) != symbols(answer):
        return False
    ratios = [_difference(reference, point) / _difference(answer, point) for point in points(reference, answer)]
    if any(abs(ratio - ratios[0]) > 1e-20 * abs(ratio) for ratio in ratios):
        if "=" in (reference[1], answer[1]):
            raise Unknown  # x/y = 2 and x = 2y
        return False
    flipped = _FLIPPED[answer[1]] if ratios[0].real < 0 else answer[1]
    return reference[1] == flipped


def _difference(tree: Tree, point: Mapping[str, Any]) -> Any:
    return evaluate(tree[2], point) - evaluate(tree[3], point)


# Lists, tuples, intervals, sets


def _is_collection(tree: Tree) -> bool:
    return tree[0] in ("list", "seq", "cup", "cap", "setminus")


def _same_collection(reference: Tree, answer: Tree) -> bool:
    if "cap" in (reference[0], answer[0]) or "setminus" in (reference[0], answer[0]):
        raise Unknown
    expected, items = _items(reference), _items(answer)
    if "cup" in (reference[0], answer[0]) and len(expected) != len(items):
        raise Unknown  # (0, 1) and [1, 2) are (0, 2)
    if len(expected) != len(items):
        return False
    if _is_ordered(reference) and _is_ordered(answer):
        return list(reference[1:3]) == list(answer[1:3]) and all(map(same, expected, items))
    if _is_ordered(reference) and answer[0] == "seq":
        return False  # a set has no order
    if _have_names(expected) and not any(item[0] == "rel" for item in items):
        return all(map(same, expected, items))
    return _match(expected, items)


def _items(tree: Tree) -> list[Tree]:
    """The members of a collection, the parts of a union, or the tree itself as the only item."""
    if tree[0] == "cup":
        return [*_items_of_union(tree[1]), *_items_of_union(tree[2])]
    if tree[0] == "list":
        return _without_names(list(tree[1:]))
    return list(tree[3:]) if tree[0] == "seq" else [tree]


def _items_of_union(tree: Tree) -> list[Tree]:
    return _items(tree) if tree[0] == "cup" or tree[1] == "{" else [tree]


def _without_names(items: list[Tree]) -> list[Tree]:
    """The items without the name of the first item, if only that has one: `x = 1, 2` is the list of 1 and 2."""
    first, *tail = items
    if first[0] == "rel" and _is_definition(first) and all(item[0] != "rel" for item in tail):
        return [first[-1], *tail]
    return items


def _have_names(items: list[Tree]) -> bool:
    """Return whether each item is the value of another letter; x_1 and x_2 are two values of x."""
    names = [str(item[2]).partition("_")[0] for item in items if item[0] == "rel" and _is_definition(item)]
    return len(set(names)) == len(items) > 1


def _is_ordered(tree: Tree) -> bool:
    return tree[0] == "seq" and tree[1] != "{"


def _match(expected: list[Tree], items: list[Tree]) -> bool:
    """Return whether the expected items and the answer's items are equal in pairs, in any order."""
    unmatched = list(items)
    for expected_item in expected:
        equal = next((n for n, item in enumerate(unmatched) if same(expected_item, item)), None)
        if equal is None:
            return False
        unmatched.pop(equal)
    return True


def _has_matrix(tree: Tree) -> bool:
    return any(node[0] == "matrix" for node in nodes(tree))


def _same_rows(expected: Sequence[Tree], rows: Sequence[Tree]) -> bool:
    shapes = [[len(row) for row in table] for table in (expected, rows)]
    cells = [[cell for row in table for cell in row[1:]] for table in (expected, rows)]
    return shapes[0] == shapes[1] and all(map(same, *cells))


# Numbers


def _same_number(reference: Tree, answer: Tree) -> bool:
    if "pct" in (reference[0], answer[0]):
        return _same_percentage(reference, answer)
    tolerance = EXACT
    if _is_decimal(reference) != _is_decimal(answer) and not (_is_plain(reference) and _is_plain(answer)):
        tolerance = _rounding(reference if _is_decimal(reference) else answer)
    return all(
        _close(evaluate(reference, point), evaluate(answer, point), tolerance) for point in points(reference, answer)
    )


def _same_percentage(reference: Tree, answer: Tree) -> bool:
    """Return whether the values are equal, where 50 % counts as 50 and as 0.5."""
    if reference[0] == answer[0]:
        return same(reference[1], answer[1])
    percentage, number = (reference, answer) if reference[0] == "pct" else (answer, reference)
    return same(percentage[1], number) or same(["/", percentage[1], ["num", "100"]], number)


def _is_plain(tree: Tree) -> bool:
    """Return whether the tree is a number in digits, with or without a power of ten as a factor."""
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


def _close(expected: Any, value: Any, tolerance: float) -> bool:
    if mpmath.isnan(expected) or mpmath.isnan(value):
        raise Unknown
    if mpmath.isinf(expected) or mpmath.isinf(value):
        return expected == value
    distance = abs(expected - value)
    return distance <= tolerance * max(abs(expected), abs(value)) or distance < ZERO
