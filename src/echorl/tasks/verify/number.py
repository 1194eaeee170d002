"""Numbers, as GSM8K has them: the final number of a completion against the gold one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

from echorl.tasks.base import final_answer
from echorl.tasks.verify.base import AnswerGrader, Verdict, Written, refusal
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag

MAX_ANSWER_CHARS = 300
"""A longer answer is no number: it fails unread."""

_NUMBER = re.compile(r"(?:\\?[$€£])? ?([+-]?)(?:\\?[$€£])?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]*)?\.?")


@dataclass(frozen=True)
class NumberGrader(AnswerGrader):
    r"""A success is a final number equal to the gold one.

    It follows the last `####` (its first line; a heading before a box is none), else stands in the last
    `<answer>...</answer>`, the last `\boxed{...}` or the last non-empty line. Only what follows `</think>` counts, as
    for mathematics. What isn't a plain number goes to math-verify in a worker process.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one call of math-verify."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "number"

    def read(self, text: str) -> str:
        return read_answer(text)

    def answer(self, text: str) -> str:
        found = read_answer(text)
        number = _plain_number(found) if len(found) <= MAX_ANSWER_CHARS else None
        return found if number is None else f"{number.normalize():f}"

    def judge(self, answer: str, gold: str) -> Verdict | None:
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        same = same_plain_number(gold, answer)
        return None if same is None else Verdict(float(same))

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        rows = [(gold, answer) for answer, gold in pairs]
        return [outcome.verdict() for outcome in self.pool.call_each("text_equal", rows, timeout=self.timeout)]

    def write(self, gold: str) -> list[Written]:
        return [Written(f"#### {gold}", _plain_number(gold) or gold)]


def read_answer(text: str) -> str:
    r"""The final number of a completion as text, as `NumberGrader` describes; "" where there is none.

    >>> read_answer("48/2=24\n#### 24\nDone."), read_answer("so \\boxed{24}."), read_answer("")
    ('24', '24', '')
    """
    text = after_thinking(text)
    _, marked, rest = text.rpartition("####")
    if marked and last_box(rest) is None:
        return rest.strip().partition("\n")[0].strip()
    return last_tag(text) or last_box(text) or final_answer(text)


def same_plain_number(gold: str, answer: str) -> bool | None:
    """Whether two plain decimals are equal; None if either isn't one and math-verify has to look.

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
