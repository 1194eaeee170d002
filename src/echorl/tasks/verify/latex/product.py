r"""Trees of adjacent parts of an answer: products, mixed numbers, units or other words, derivatives."""

from __future__ import annotations

from typing import Any

Tree = tuple[Any, ...]

HARMLESS_BEFORE = frozenset(
    ("the answer is", "answer", "answer:", "approximately", "about", "approx", "approx.", "exactly", "is", "rs", "rs.")
)
"""Words that may stand before a value, besides those that are a unit."""
HEDGES = frozenset(
    "not no or and if but maybe perhaps possibly unless between either neither nor than least most over under except "
    "without never wrong false incorrect versus vs".split()
)
_UNIT_POWERS = [power for n in "1234" for power in (("num", n), ("neg", ("num", n)))]


class Unreadable(ValueError):
    """The answer has no tree; the message gives the reason."""


def quotient(factors: list[Tree], under: Tree) -> Tree:
    """The factors over `under`; a mixed number if they are a whole number and a numerator: 4 2/3."""
    if len(factors) == 2 and _is_proper(factors[0], factors[1], under):
        return ("+", factors[0], ("/", factors[1], under))
    return ("/", product(factors), under) if not is_text(under) else product([*factors, under])


def is_text(tree: Tree) -> bool:
    """Whether a tree is words, or a power of words."""
    return tree[0] == "text" or (tree[0] == "^" and is_text(tree[1]))


def product(factors: list[Tree]) -> Tree:
    """The factors as one tree, without a unit at their end; a whole number and a proper fraction are added.

    Raises:
        Unreadable: words stand between values, before them, or say more than a unit does.
    """
    if any(is_text(factor) for factor in factors):
        factors = _without_words(factors)
    if len(factors) == 2 and factors[1][0] == "/" and _is_proper(factors[0], *factors[1][1:]):
        return ("+", *factors)
    return factors[0] if len(factors) == 1 else ("*", *factors)


def _without_words(factors: list[Tree]) -> list[Tree]:
    values = [factor for factor in factors if not is_text(factor)]
    if not values:
        words = [factor[1] if factor[0] == "text" else "" for factor in factors]
        return [("text", " ".join(words))]
    begin = next(n for n, factor in enumerate(factors) if not is_text(factor))
    if any(str(factor[1]).lower().strip() not in HARMLESS_BEFORE for factor in factors[:begin]):
        raise Unreadable("words before a value")
    if factors[begin : begin + len(values)] != values:
        raise Unreadable("words between values")
    for factor in factors[begin + len(values) :]:
        if factor[0] == "^" and factor[2] not in _UNIT_POWERS:
            raise Unreadable("a power that no unit has")
        words = factor[1] if factor[0] == "text" else factor[1][1]
        if any(character.isdigit() for character in words) or HEDGES & set(str(words).lower().split()):
            raise Unreadable("words behind a value that are no unit")
    return values


def _is_proper(whole: Tree, over: Tree, under: Tree) -> bool:
    """Whether the three are the parts of a mixed number."""
    digits = [tree[1] for tree in (whole, over, under) if tree[0] == "num"]
    return len(digits) == 3 and all(map(str.isdigit, digits)) and 0 < int(digits[1]) < int(digits[2])


def derivative(over: Tree, under: Tree) -> Tree | None:
    r"""The symbol for a derivative such as `\frac{d x}{d t}`; None for any other fraction."""
    above, below = (tree[1:] if tree[0] == "*" else (tree,) for tree in (over, under))
    if len(below) != 2 or len(above) > 2 or not (_is_d(above[0]) and _is_d(below[0])):
        return None
    return ("sym", f"{_name(over)}/{_name(under)}")


def _is_d(tree: Tree) -> bool:
    letter = tree[1] if tree[0] == "^" else tree
    return letter in (("sym", "d"), ("sym", "partial"))


def _name(tree: Tree | str) -> str:
    return tree if isinstance(tree, str) else "(" + " ".join(_name(part) for part in tree[1:]) + ")"
