r"""Final answers of responses, in a form in which equal answers of one prompt are equal texts."""

from __future__ import annotations

import re
from functools import lru_cache

from echorl.tasks.verify import GRADERS
from echorl.tasks.verify.base import refusal
from echorl.tasks.verify.choice import leading_label, read_label
from echorl.tasks.verify.mathematics import exact_value, normal_form
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag

MAX_ANSWER_CHARS = 300
"""A longer answer is not read."""
TAIL_CHARS = 2_000
"""The last box is looked for in this end of a response first, and in the last `WINDOW_CHARS` if it is not there."""
WINDOW_CHARS = 50_000
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def read_answer(response: str, *, truncated: bool = False) -> str:
    r"""Return the final answer; "" where none can be read.

    The answer is the last box, else the number that the grader of numbers reads (behind `####`, in `<answer>`, or in
    the last line), else a label of multiple choice, else the text in `<answer>`. Of a truncated response only a box
    counts, since its last line is not its end. Nothing is evaluated, and equal answers may be different texts.

    >>> read_answer(r"so \boxed{\frac{2}{4}}."), read_answer("#### 0.50"), read_answer("The answer is (B).")
    ('1/2', '1/2', 'B')
    """
    text = after_thinking(response)
    boxed = last_box(text[-TAIL_CHARS:])
    if boxed is None:
        text = text[-WINDOW_CHARS:]
        boxed = last_box(text)
    if boxed is not None or truncated:
        return normal_answer(boxed or "")
    number = GRADERS["number"].answer(text)
    return normal_answer(number or read_label(text) or last_tag(text) or "")


def is_same(answer: str, reference: str) -> bool:
    """Return whether an answer and a reference answer are the same in a normal form, or the same label of a choice.

    >>> is_same("1/2", "0.5"), is_same("C", "(C) Mars"), is_same("3", "4"), is_same("", "")
    (True, True, False, False)
    """
    form = normal_answer(answer)
    return bool(form) and form in (normal_answer(reference), leading_label(reference))


@lru_cache(maxsize=4096)
def normal_answer(answer: str) -> str:
    """Return an answer without layout, a rational number as a whole number or a fraction; "" for one too long or deep.

    >>> normal_answer("$1,000.0$"), normal_answer("x + 1"), normal_answer("50\\\\%")
    ('1000', 'x+1', '50\\\\%')
    """
    if _INTEGER.fullmatch(answer):
        return str(int(answer))
    if refusal(answer, max_chars=MAX_ANSWER_CHARS):
        return ""
    form = normal_form(answer)
    value = None if "%" in form else exact_value(form)
    answer = form if value is None else str(value)
    return answer if len(answer) <= MAX_ANSWER_CHARS else ""
