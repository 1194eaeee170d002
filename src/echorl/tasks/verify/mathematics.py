r"""Mathematics: the last \boxed{...} against the gold answer, by math-verify in a worker process."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

from echorl.tasks.verify.base import AnswerGrader, Verdict, Written, refusal
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.reading import after_thinking, last_box

MAX_ANSWER_CHARS = 1000
"""A longer answer is a failure; math-verify doesn't see it. The longest gold of the benchmarks has 210 characters."""

_LAYOUT = re.compile(r"\\[,!;: ]|\\(?:left|right|displaystyle)(?![A-Za-z])|[$~]")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_SPACE = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9\s])")
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_POWER = re.compile(r"(?<![A-Za-z0-9.\\])([0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE]([+-]?[0-9]+)(?![A-Za-z0-9.])")
_FRACTION = re.compile(r"(-?)\\frac\{([0-9]+)\}\{([0-9]+)\}|(-?)([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class MathGrader(AnswerGrader):
    r"""A success is a last `\boxed{...}` that math-verify finds equal to the gold answer.

    Only what follows `</think>` counts, where there is one. Thinking that began and never ended has no answer, and
    neither has a text without a box that closes: the last number of prose need not be meant as its answer. Equal texts
    and integers are judged at once, the rest by a worker.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one pair."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "math"

    def read(self, text: str) -> str:
        return last_box(after_thinking(text)) or ""

    def answer(self, text: str) -> str:
        form = normal_form(self.read(text))
        return str(int(form)) if _INTEGER.fullmatch(form) else form

    def judge(self, answer: str, gold: str) -> Verdict | None:
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        wanted, given = normal_form(gold), normal_form(answer)
        if _INTEGER.fullmatch(wanted) and _INTEGER.fullmatch(given):
            return Verdict(float(int(wanted) == int(given)))
        return Verdict(1.0) if wanted == given else None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        rows = [(with_powers(gold), with_powers(answer)) for answer, gold in pairs]
        return [outcome.verdict() for outcome in self.pool.call_each("math_equal", rows, timeout=self.timeout)]

    def write(self, gold: str) -> list[Written]:
        return [Written(f"\\boxed{{{gold}}}", _value(normal_form(gold)))]


def normal_form(answer: str) -> str:
    r"""The answer without layout: equal texts mean the same, unequal ones may too.

    >>> normal_form(r"\left( \dfrac{1}{2}, \text{ cm} \right)."), normal_form("$x + 1$")
    ('(\\frac{1}{2},cm)', 'x+1')
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return answer
    answer = answer.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    answer = _LAYOUT.sub(" ", _TEXT.sub(r" \1 ", answer))
    return _SPACE.sub("", answer.strip()).rstrip(".").strip()


def with_powers(answer: str) -> str:
    r"""The answer with powers of ten in LaTeX: math-verify takes the e of Minerva's golds for a factor.

    >>> with_powers("4.5e33"), with_powers("2e^{3}")
    ('4.5\\times 10^{33}', '2e^{3}')
    """
    return _POWER.sub(r"\1\\times 10^{\2}", answer)


def _value(answer: str) -> Hashable:
    """The number, if the answer is a plain one, else the answer."""
    if _DECIMAL.fullmatch(answer):
        return Fraction(answer)
    if (found := _FRACTION.fullmatch(answer)) and int(found[3] or found[6]):
        sign, over, under = found.group(1, 2, 3) if found[3] else found.group(4, 5, 6)
        return Fraction(int(sign + over), int(under))
    return answer
