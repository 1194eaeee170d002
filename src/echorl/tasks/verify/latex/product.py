r"""Trees of adjacent parts of an answer: products, mixed numbers, units and other words, derivatives."""

from __future__ import annotations

import math
import re
from typing import Any

from echorl.tasks.verify.hedges import is_hedged

Tree = tuple[Any, ...]

HARMLESS_BEFORE = frozenset(
    ("the answer is", "answer", "answer:", "approximately", "about", "approx", "approx.", "exactly", "is", "rs", "rs.")
)
"""Words that may stand before a value."""
HEDGES = frozenset(
    "no and but between than least most over under below minus zero fails bn lakh crore millionen".split()
)
"""Words that may not stand behind a value, besides the words in `hedges`."""
_ORDER_WORDS = frozenset("十百千万萬亿億以上下多余餘倍半至到")
"""Signs of other scripts that change the number before them: 5 \u4e07 are 50000."""
_POWER = re.compile(r"(?<=[A-Za-z])\s*(?:\^\s*\{?\s*-?[1-4]\s*\}?|-?[1-4](?![0-9]))")
"""A power of a unit inside its text: m^2, s^{-1}."""
_UNIT_POWERS = [power for n in "1234" for power in (("num", n), ("neg", ("num", n)))]


class Unreadable(ValueError):
    """The answer has no tree; the message gives the reason."""


def quotient(factors: list[Tree], under: Tree) -> Tree:
    """The product of the factors, divided by `under`; a mixed number for a whole number and a numerator: 4 2/3."""
    if len(factors) == 2 and is_mixed(factors[0], factors[1], under):
        return ("+", factors[0], ("/", factors[1], under))
    if under[0] == "pct":  # 1/3 %
        return ("pct", quotient(factors, under[1]))
    return ("/", product(factors), under) if not is_text(under) else product([*factors, under])


def is_text(tree: Tree) -> bool:
    """Return whether a tree is words, or a power of words."""
    return tree[0] == "text" or (tree[0] == "^" and is_text(tree[1]))


def product(factors: list[Tree]) -> Tree:
    """The factors as one tree without a final unit; a whole number and a proper fraction are added.

    Raises:
        Unreadable: words stand between values, before them, or say more than a unit does.
    """
    if any(is_text(factor) for factor in factors):
        factors = _without_words(factors)
    if factors[-1][0] == "pct" and len(factors) > 1:  # 33 1/3 %
        return ("pct", product([*factors[:-1], factors[-1][1]]))
    if len(factors) == 2 and factors[1][0] == "/" and is_mixed(factors[0], *factors[1][1:]):
        return ("+", *factors)
    return factors[0] if len(factors) == 1 else ("*", *factors)


def negated(tree: Tree) -> Tree:
    """The tree with the opposite sign; the negative of a percentage is a percentage."""
    return ("pct", ("neg", tree[1])) if tree[0] == "pct" else ("neg", tree)


def ratio(parts: list[Tree]) -> Tree:
    """The quotient of a ratio such as 3 : 4; of a longer ratio the quotients of its parts by the first part.

    Raises:
        Unreadable: it may be a time of day, as 3:30 and 12:00.
    """
    if len(parts) == 1:
        return parts[0]
    digits = [part[1] if part[0] == "num" and part[1].isdigit() else "" for part in parts]
    if all(digits) and len(digits[1]) == 2 and math.gcd(*map(int, digits)) != 1:
        raise Unreadable("a time of day")
    if len(parts) == 2:
        return ("/", *parts)
    return ("seq", "(", ")", *(("/", part, parts[0]) for part in parts))


def _without_words(factors: list[Tree]) -> list[Tree]:
    values = [factor for factor in factors if not is_text(factor)]
    if not values:
        words = [factor[1] if factor[0] == "text" else "" for factor in factors]
        return [("text", " ".join(words))]
    start = next(n for n, factor in enumerate(factors) if not is_text(factor))
    if any(str(factor[1]).lower().strip() not in HARMLESS_BEFORE for factor in factors[:start]):
        raise Unreadable("words before a value")
    if factors[start : start + len(values)] != values:
        raise Unreadable("words between values")
    for factor in factors[start + len(values) :]:
        if factor[0] == "^" and factor[2] not in _UNIT_POWERS:
            raise Unreadable("a power that no unit has")
        words = factor[1] if factor[0] == "text" else factor[1][1]
        if not _may_be_unit(words):
            raise Unreadable("words behind a value that are not a unit")
    return values


def _may_be_unit(words: str) -> bool:
    words = _POWER.sub("", words)
    return not (
        any(character.isdigit() for character in words)
        or HEDGES & set(words.lower().split())
        or _ORDER_WORDS & set(words)
        or words.strip() == "k"
        or is_hedged(f"1 {words}")
    )


def is_mixed(whole: Tree, over: Tree, under: Tree) -> bool:
    """Return whether the three are the parts of a mixed number."""
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
