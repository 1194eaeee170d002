r"""Exact arithmetic on texts: `3 1/2`, `\frac{48}{2}`, `(2^3 - 1) * 6`. Nothing is run as code.

The values are fractions. Powers and factorials have a largest size, so a text's length bounds time and memory.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from echorl.tasks.verify.reading import depth

MAX_CHARS, MAX_DEPTH = 2000, 20
MAX_BITS = 20_000
"""A power or a factorial of more bits is no value: no answer of a benchmark is near it."""

GAP = "§"
"""Stands for something between two values that isn't part of either, a word for example; it is skipped."""

NUMBER = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])|[0-9]{1,3}(?:'[0-9]{3})+(?![0-9])|[0-9]+)"
    r"(?:\.[0-9]*(?:\\(?:overline|bar) ?\{[0-9]+\})?)?(?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z]))?"
    r"|\.[0-9]+(?:[eE][+-]?[0-9]{1,3}(?![0-9A-Za-z]))?"
)
"""A decimal, with thousands separated all by commas, by single spaces or by apostrophes, or with repeating digits."""

_TOKEN = re.compile(rf"(?P<number>{NUMBER})|(?P<sign>\\frac|[-+*/^!%()\[\]{{}}])|(?P<name>\\?[A-Za-z]+)|(?P<gap>[ §]+)")
_MIXED = re.compile(
    r"([0-9]+)(?: ?\\frac ?\{ ?([0-9]+) ?\} ?\{ ?([0-9]+) ?\}| ([0-9]{1,2}|[0-9]{4,}) ?/ ?([0-9]+)(?![0-9.,]))"
)
_DIGIT_FRACTION = re.compile(r"\\frac ?([0-9])(?: ?([0-9])(?![0-9])|(?=\{))")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class NotRational(ValueError):
    """The text has roots, functions, names or broken exponents: its value is not found here."""


class _Unreadable(ValueError):
    pass


def evaluate(text: str) -> Fraction | None:
    r"""The value of an expression of numbers, + - * / ^ ! %, brackets and `\frac`; None if it is none or too large.

    Raises:
        NotRational: it has names or an exponent that is not whole.

    >>> print(evaluate("3 1/2"), evaluate(r"-\frac{48}{2}"), evaluate("10 000 * 5%"), evaluate("42 43"))
    7/2 -24 500 None
    """
    if len(text) > MAX_CHARS or depth(text) > MAX_DEPTH:
        return None
    try:
        return _Parser(text).value()
    except (_Unreadable, ZeroDivisionError):
        return None


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


class _Parser:
    """Reads one expression from left to right; its depth is that of the brackets."""

    def __init__(self, text: str) -> None:
        self._text = _DIGIT_FRACTION.sub(_with_braces, text)
        self._place = 0

    def value(self) -> Fraction:
        value = self._sum()
        if self._next():
            raise _Unreadable
        return value

    def _next(self) -> str:
        """The sign at this place, "number" for a number, "" at the end; gaps are passed over."""
        while found := _TOKEN.match(self._text, self._place):
            if found["name"]:
                raise NotRational(f"{found['name']!r} is no number")
            if not found["gap"]:
                return found["sign"] or "number"
            self._place = found.end()
        if self._place < len(self._text):
            raise _Unreadable
        return ""

    def _take(self, *signs: str) -> str:
        sign = self._next()
        if sign not in signs:
            return ""
        self._place += len(sign)
        return sign

    def _sum(self) -> Fraction:
        value = self._product()
        while sign := self._take("+", "-"):
            value += self._product() * (1 if sign == "+" else -1)
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while (sign := self._take("*", "/")) or self._opens_at_once():
            factor = self._signed()
            value = value / factor if sign == "/" else value * factor
        return value

    def _opens_at_once(self) -> bool:
        """Whether a round bracket follows a number or a bracket without a gap: a product, as in 2(21)."""
        return self._text[self._place : self._place + 1] == "(" and self._text[self._place - 1] not in " §"

    def _signed(self) -> Fraction:
        factor = 1
        while sign := self._take("+", "-"):
            factor *= 1 if sign == "+" else -1
        return factor * self._power()

    def _power(self) -> Fraction:
        values = [self._postfixed()]
        while self._take("^"):
            factor = -1 if self._take("-") else 1
            values.append(factor * self._postfixed())
        value = values.pop()
        while values:
            value = _raised(values.pop(), value)
        return value

    def _postfixed(self) -> Fraction:
        value = self._primary()
        while sign := self._take("!", "%"):
            if sign == "%":
                value /= 100
            elif value.denominator != 1 or not 0 <= value <= 1000 or self._next() == "!":
                raise _Unreadable
            else:
                value = Fraction(math.factorial(int(value)))
        return value

    def _primary(self) -> Fraction:
        sign = self._next()
        if sign == "number":
            return self._number()
        self._place += len(sign)
        if sign == "\\frac":
            over, under = self._group(), self._group()
            return over / under
        if sign not in _CLOSING:
            raise _Unreadable
        return self._inside(_CLOSING[sign])

    def _group(self) -> Fraction:
        if not self._take("{"):
            raise _Unreadable
        return self._inside("}")

    def _inside(self, closing: str) -> Fraction:
        value = self._sum()
        if not self._take(closing):
            raise _Unreadable
        return value

    def _number(self) -> Fraction:
        if mixed := _MIXED.match(self._text, self._place):
            whole, over, under = (int(part) for part in mixed.groups() if part)
            if not 0 < over < under:
                raise _Unreadable
            self._place = mixed.end()
            return whole + Fraction(over, under)
        found = _TOKEN.match(self._text, self._place)
        assert found is not None
        self._place = found.end()
        return decimal(found["number"])


def _with_braces(found: re.Match[str]) -> str:
    return rf"\frac{{{found[1]}}}" + (f"{{{found[2]}}}" if found[2] else "")


def _raised(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise NotRational("the exponent is not whole")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * bits > MAX_BITS:
        raise _Unreadable
    return Fraction(base ** int(exponent))
