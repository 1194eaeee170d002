r"""Final answers of responses, in a form in which equal answers of one prompt are equal texts."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import Any

from echorl.support.texts import parse_json
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
ANSWER_KEYS = ("target", "ground_truth")
"""Keys of a reference answer that is a mapping, as in verl's `reward_model`."""
ANSWER_MARKS = re.compile(r"####|\\boxed|<answer>")
"""Marks of the answer at the end of a worked solution."""
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


@lru_cache(maxsize=16)  # of long texts, which are those of a group's rollouts in a row
def read_reference(text: str) -> str:
    r"""Return the answer in a log's reference answer: in a worked solution, in a list of one, or under a key.

    >>> read_reference("2 + 2 = 4\n#### 4"), read_reference('["4"]'), read_reference('{"ground_truth": 4}')
    ('4', '4', '4')
    >>> read_reference("4 eggs"), read_reference("[1, 2]")
    ('4 eggs', '[1, 2]')
    """
    if text[:1] in ("[", "{"):
        with suppress(ValueError):  # [0, 1) and {x} are answers of mathematics
            text = _only_answer(parse_json(text), text)
    return (ANSWER_MARKS.search(text) and read_answer(text)) or text


def _only_answer(value: Any, text: str) -> str:
    """Return the answer that a value of JSON holds, else `text`."""
    if isinstance(value, dict):
        value = [value[key] for key in ANSWER_KEYS if key in value]
    if isinstance(value, list):
        return _only_answer(value[0], text) if len(value) == 1 else text
    return text if value is None else str(value)


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
