"""Grader of numbers, as GSM8K has them: compares the final number of a completion with the reference answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from echorl.tasks.verify.base import NO_ANSWER, Form, Grader, Verdict, refusal
from echorl.tasks.verify.hedges import is_hedged
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.quantity import Quantity, read_quantity
from echorl.tasks.verify.reading import after_thinking, final_answer, last_box, last_tag

MAX_ANSWER_CHARS = 300
"""A longer answer is not read."""

_NUMBER = re.compile(r"(?:\\?[$€£])? ?([+-]?)(?:\\?[$€£])?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]*)?\.?")
_DIGIT = re.compile(r"[\d½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒]")
_STATEMENT = re.compile(r"\banswer(?:\s+is\b|\s*[:：=])", re.IGNORECASE)
_EQUATION_START = re.compile(r"[0-9.(]|\b[A-Za-z] ?=")
_INSIDE = (*"=≈+-*/^(×÷−–{}.\\", " x", " X")


@dataclass(frozen=True)
class NumberGrader(Grader):
    r"""Grader of numbers. A success is a final number that is equal to the reference answer.

    The number follows the last `####`, else stands in the last `<answer>...</answer>`, the last `\boxed{...}` or the
    last non-empty line. After `####` the first line counts, or the second where the first has no digit. A `####` before
    a box is a heading and does not count. Text before `</think>` is not read, as for mathematics. A text in which
    `read_quantity` reads no number or several is not an answer. Arithmetic is exact. Roots and functions are compared
    by math-verify in a worker process.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one call of math-verify."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "number"

    def read(self, text: str) -> str:
        """The final number of the completion as it is written; "" if there is none."""
        return read_answer(text)

    def answer(self, text: str) -> str:
        """The final number as a decimal, a fraction or an expression; "" if there is none."""
        answer = read_answer(text)
        quantity = None if refusal(answer, max_chars=MAX_ANSWER_CHARS) else _quantity(answer)
        if quantity is None:
            return ""
        return _as_text(max(quantity.values)) if quantity.values else quantity.sides[-1]

    def read_reference(self, value: Any) -> str:
        """The reference answer as text; ValueError if it is not a single number."""
        reference = super().read_reference(value)
        if not reference or len(reference) > MAX_ANSWER_CHARS or _quantity(reference) is None:
            raise ValueError(f"{reference[:80]!r} is not a single number; write one, such as '1,000', '3.5' or '1/2'")
        return reference

    def judge(self, answer: str, reference: str) -> Verdict | None:
        """Score of a rational number; None where math-verify has to compare."""
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        expected, quantity = _quantity(reference), _quantity(answer)
        if expected is None or quantity is None:
            return Verdict(0.0, NO_ANSWER)
        if not expected.values or not quantity.values:
            return None
        return Verdict(float(bool(expected.values & quantity.values)))

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of math-verify: one call for the answer, and one for each further side of its equation."""
        rows = [_comparisons(reference, answer) for answer, reference in pairs]
        calls = [call for row in rows for call in row]
        verdicts = iter(
            [outcome.verdict() for outcome in self.pool.call_each("math_equal", calls, timeout=self.timeout)]
        )
        return [min([next(verdicts) for _ in row], key=lambda verdict: verdict.score) for row in rows]

    def forms(self, reference: str) -> list[Form]:
        """The number behind `####`."""
        quantity = read_quantity(reference)
        return [Form(f"#### {reference}", quantity.values if quantity and quantity.values else reference)]


def read_answer(text: str) -> str:
    r"""The final number of a completion as text, as `NumberGrader` describes; "" where there is none.

    >>> read_answer("48/2=24\n#### 24\nDone."), read_answer("so \\boxed{24}."), read_answer("")
    ('24', '24', '')
    """
    text = after_thinking(text)
    _, mark, tail = text.rpartition("####")
    if mark and last_box(tail) is None:
        return _below_headings(tail)
    tagged = last_tag(text)
    if tagged:
        return last_box(tagged) or tagged
    return last_box(text) or _stated(final_answer(text))


def _below_headings(text: str) -> str:
    """The first non-empty line; the second one if the first has no digit."""
    first, _, tail = text.strip().partition("\n")
    below = tail.strip().partition("\n")[0].strip()
    return below if below and not _DIGIT.search(first) else first.strip()


def _stated(line: str) -> str:
    """The answer in a line of prose: the text after its last "answer is", else the true equation at its end.

    A line with neither is returned whole, and so is a line that denies something.
    """
    if len(line) > MAX_ANSWER_CHARS or read_quantity(line):
        return line
    statements = list(_STATEMENT.finditer(line))
    if statements and not is_hedged(line):
        return line[statements[-1].end() :].strip()
    starts = (match.start() for match in _EQUATION_START.finditer(line))
    return next((line[start:] for start in starts if _is_equation(line, start)), line)


def _is_equation(line: str, start: int) -> bool:
    """Return whether a true equation begins at `start` and is not the tail of a longer one."""
    before = line[:start].rstrip(" $€£")
    inside = before.endswith(_INSIDE) or before[-1:].isdigit()
    return (
        "=" in line[start:] and not inside and not is_hedged(before[-20:]) and read_quantity(line[start:]) is not None
    )


@lru_cache(maxsize=4096)
def _quantity(text: str) -> Quantity | None:
    """The result of `read_quantity`. A plain number is read without the parser."""
    plain = _plain_number(text)
    return read_quantity(text) if plain is None else Quantity(frozenset({Fraction(plain)}), (text,))


def _comparisons(reference: str, answer: str) -> list[tuple[str, str]]:
    """The pairs that have to be equal: the reference with the answer's last side, and that one with each other side."""
    expected, quantity = _quantity(reference), _quantity(answer)
    assert expected is not None
    assert quantity is not None
    *sides, last = quantity.sides
    return [(expected.sides[-1], last), *((last, side) for side in sides)]


def _as_text(value: Fraction) -> str:
    """The value as a decimal if it is a finite one, else as a fraction."""
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator > 1:
        return str(value)
    places = value.denominator.bit_length()  # enough, and at least one
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")


def same_plain_number(reference: str, answer: str) -> bool | None:
    """Return whether two plain decimals are equal; None if one of the texts is not a plain decimal.

    The result is False for an empty answer and for an answer of over `MAX_ANSWER_CHARS` characters.

    >>> same_plain_number("1,000", "$1000.00"), same_plain_number("3", "4"), same_plain_number("0.5", "1/2")
    (True, False, None)
    """
    if not answer or len(answer) > MAX_ANSWER_CHARS:
        return False
    numbers = [_plain_number(reference), _plain_number(answer)]
    return None if None in numbers else numbers[0] == numbers[1]


def _plain_number(text: str) -> Decimal | None:
    number = _NUMBER.fullmatch(text)
    return Decimal(number[1] + number[2].replace(",", "") + (number[3] or "")) if number else None
