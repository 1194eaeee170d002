"""Numbers, as GSM8K has them: the final number of a completion against the gold one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from echorl.tasks.base import final_answer
from echorl.tasks.verify.base import NO_ANSWER, AnswerGrader, Verdict, Written, refusal
from echorl.tasks.verify.hedges import is_hedged
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.quantity import Quantity, read_quantity
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag

MAX_ANSWER_CHARS = 300
"""A longer answer is no number: it fails unread."""

_NUMBER = re.compile(r"(?:\\?[$€£])? ?([+-]?)(?:\\?[$€£])?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]*)?\.?")
_DIGIT = re.compile(r"[\d½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒]")
_STATEMENT = re.compile(r"\banswer(?:\s+is\b|\s*[:：=])", re.IGNORECASE)
_EQUATION_START = re.compile(r"[0-9.(]|\b[A-Za-z] ?=")
_INSIDE = (*"=≈+-*/^(×÷−–{}.\\", " x", " X")


@dataclass(frozen=True)
class NumberGrader(AnswerGrader):
    r"""A success is a final number equal to the gold one.

    It follows the last `####` (its first line; of a heading without a digit the line below; a heading before a box is
    none), else stands in the last `<answer>...</answer>`, the last `\boxed{...}` or the last non-empty line. Only what
    follows `</think>` counts, as for mathematics. What `read_quantity` finds more or less than one number in is no
    answer. Arithmetic is exact; roots and functions go to math-verify in a worker process.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one call of math-verify."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "number"

    def read(self, text: str) -> str:
        return read_answer(text)

    def answer(self, text: str) -> str:
        answer = read_answer(text)
        quantity = None if refusal(answer, max_chars=MAX_ANSWER_CHARS) else _quantity(answer)
        if quantity is None:
            return ""
        return _as_text(max(quantity.values)) if quantity.values else quantity.sides[-1]

    def gold(self, value: Any) -> str:
        gold = super().gold(value)
        if not gold or len(gold) > MAX_ANSWER_CHARS or _quantity(gold) is None:
            raise ValueError(f"{gold[:80]!r} is no number; write one, such as '1,000', '3.5' or '1/2'")
        return gold

    def judge(self, answer: str, gold: str) -> Verdict | None:
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        right, given = _quantity(gold), _quantity(answer)
        if right is None or given is None:
            return Verdict(0.0, NO_ANSWER)
        return Verdict(float(bool(right.values & given.values))) if right.values and given.values else None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Each pair is one call for the answer, and one for each further side of its equation, which has to be true."""
        rows = [_comparisons(gold, answer) for answer, gold in pairs]
        calls = [call for row in rows for call in row]
        verdicts = iter(
            [outcome.verdict() for outcome in self.pool.call_each("math_equal", calls, timeout=self.timeout)]
        )
        return [min([next(verdicts) for _ in row], key=lambda verdict: verdict.score) for row in rows]

    def write(self, gold: str) -> list[Written]:
        quantity = read_quantity(gold)
        return [Written(f"#### {gold}", quantity.values if quantity and quantity.values else gold)]


def read_answer(text: str) -> str:
    r"""The final number of a completion as text, as `NumberGrader` describes; "" where there is none.

    >>> read_answer("48/2=24\n#### 24\nDone."), read_answer("so \\boxed{24}."), read_answer("")
    ('24', '24', '')
    """
    text = after_thinking(text)
    _, marked, rest = text.rpartition("####")
    if marked and last_box(rest) is None:
        return _below_headings(rest)
    tagged = last_tag(text)
    if tagged:
        return last_box(tagged) or tagged
    return last_box(text) or _stated(final_answer(text))


def _below_headings(text: str) -> str:
    """The first line that isn't empty; the next one if that has no digit."""
    first, _, rest = text.strip().partition("\n")
    below = rest.strip().partition("\n")[0].strip()
    return below if below and not _DIGIT.search(first) else first.strip()


def _stated(line: str) -> str:
    """What a line of prose says last: what follows its last "answer is", else the true equation that it ends with.

    A line that denies something, or that has neither, is read whole.
    """
    if len(line) > MAX_ANSWER_CHARS or read_quantity(line):
        return line
    statements = list(_STATEMENT.finditer(line))
    if statements and not is_hedged(line):
        return line[statements[-1].end() :].strip()
    starts = (found.start() for found in _EQUATION_START.finditer(line))
    return next((line[start:] for start in starts if _is_equation(line, start)), line)


def _is_equation(line: str, start: int) -> bool:
    """Whether a true equation begins there; not one that is the rest of a longer one."""
    before = line[:start].rstrip(" $€£")
    inside = before.endswith(_INSIDE) or before[-1:].isdigit()
    return (
        "=" in line[start:] and not inside and not is_hedged(before[-20:]) and read_quantity(line[start:]) is not None
    )


@lru_cache(maxsize=4096)
def _quantity(text: str) -> Quantity | None:
    """`read_quantity`, at once where the text is a plain number."""
    plain = _plain_number(text)
    return read_quantity(text) if plain is None else Quantity(frozenset({Fraction(plain)}), (text,))


def _comparisons(gold: str, answer: str) -> list[tuple[str, str]]:
    right, given = _quantity(gold), _quantity(answer)
    assert right is not None
    assert given is not None
    *others, last = given.sides
    return [(right.sides[-1], last), *((last, side) for side in others)]


def _as_text(value: Fraction) -> str:
    """The value as a decimal if it is a finite one, else as a fraction."""
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    if denominator > 1:
        return str(value)
    places = value.denominator.bit_length()  # enough, and one at least
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")


def same_plain_number(gold: str, answer: str) -> bool | None:
    """Whether two plain decimals are equal; None if either isn't one.

    An empty answer, or one of over `MAX_ANSWER_CHARS` characters, is False.

    >>> same_plain_number("1,000", "$1000.00"), same_plain_number("3", "4"), same_plain_number("0.5", "1/2")
    (True, False, None)
    """
    if not answer or len(answer) > MAX_ANSWER_CHARS:
        return False
    numbers = [_plain_number(gold), _plain_number(answer)]
    return None if None in numbers else numbers[0] == numbers[1]


def _plain_number(text: str) -> Decimal | None:
    found = _NUMBER.fullmatch(text)
    return Decimal(found[1] + found[2].replace(",", "") + (found[3] or "")) if found else None
