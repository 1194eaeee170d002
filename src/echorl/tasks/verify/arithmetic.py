r"""Exact arithmetic on texts: `3 1/2`, `\frac{48}{2}`, `(2^3 - 1) * 6`. Nothing is run as code.

The values are fractions. Powers and factorials have a largest size, so a text's length bounds time and memory.
"""

from __future__ import annotations

import re
from fractions import Fraction

from echorl.tasks.verify.latex import Tree, Unreadable, rational, read_tree
from echorl.tasks.verify.reading import depth
from echorl.tasks.verify.trees import mapped, nodes

MAX_CHARS, MAX_DEPTH = 2000, 20

GAP = "§"
"""Mark of something between two values that is part of neither, such as a word. It is skipped."""

NUMBER = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]{1,3}(?:'[0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]*(?:\\(?:overline|bar) ?\{[0-9]+\})?)?(?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z]))?"
    r"|\.[0-9]+(?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z]))?"
)
"""A decimal. Its thousands may be separated by commas, single spaces or apostrophes, and its last digits may repeat."""

_APOSTROPHE = re.compile("(?<=[0-9])'(?=[0-9]{3})")
_BEFORE_VALUE = re.compile(rf"(^|[-+*/^(\[{{]) *{GAP}[ {GAP}]*")
_BESIDE = re.compile(
    rf"[)\]}}%!][ {GAP}]+[0-9.]|[0-9)\]}}%!][ {GAP}]+[(\[]|[/^] *[0-9.]+[ {GAP}]+(?![0-9]{{3}}(?![0-9]))[0-9.]"
)
"""Two values beside each other, such as 21 (2), which are not read as a product."""
_NAMED = frozenset(("sym", "const", "root", "fn", "log", "abs", "floor", "ceil", "binom", "pm"))


class NotRational(ValueError):
    """The text has roots, functions, names or fractional exponents, so that its value may be irrational."""


def evaluate(text: str) -> Fraction | None:
    r"""The value of an expression of numbers, + - * / ^ ! %, brackets and `\frac`; None for other or too large ones.

    Raises:
        NotRational: it has names or an exponent that is not whole.

    >>> print(evaluate("3 1/2"), evaluate(r"-\frac{48}{2}"), evaluate("10 000 * 5%"), evaluate("42 43"))
    7/2 -24 500 None
    """
    if len(text) > MAX_CHARS or depth(text) > MAX_DEPTH or _BESIDE.search(text):
        return None
    text = _BEFORE_VALUE.sub(r"\1", _APOSTROPHE.sub(",", text))
    try:
        tree = read_tree(text.replace(GAP, r"\text{ }"))
    except Unreadable:
        return None
    if any(map(_is_irrational, nodes(tree))):
        raise NotRational(f"{text[:80]!r} is not arithmetic of fractions")
    return rational(mapped(tree, _without_percent))


def _is_irrational(node: Tree) -> bool:
    """Return whether the operation or the name may have an irrational value."""
    exponent = rational(node[2]) if node[0] == "^" else None
    return node[0] in _NAMED or (exponent is not None and exponent.denominator != 1)


def _without_percent(node: Tree) -> Tree:
    return ("/", node[1], ("num", "100")) if node[0] == "pct" else node


def decimal(number: str) -> Fraction:
    r"""The value of a text that `NUMBER` matches.

    >>> print(decimal("1,000.50"), decimal(r"0.1\overline{6}"), decimal("4.2e1"))
    2001/2 1/6 42
    """
    number = re.sub("[, ']", "", number)
    finite, repeated, digits = re.sub(r"\\bar", r"\\overline", number).partition("\\overline")
    value = Fraction(finite if finite[0] != "." else f"0{finite}")
    if repeated:
        period = re.sub("[^0-9]", "", digits)
        places = len(finite.partition(".")[2])
        value += Fraction(int(period), (10 ** len(period) - 1) * 10**places)
    return value
