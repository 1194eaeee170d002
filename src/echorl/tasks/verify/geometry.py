r"""Grader of geometry problems with choices: accepts the right letter, or a value within a tolerance.

TOLERANCE is relative. A reference value with up to three decimals was rounded to them, so half a unit of the last
decimal is allowed, too: for the reference value 0.38 the answer 0.3846 is right, for 12 the answer 12.2 is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from echorl.tasks.verify.base import NO_ANSWER, Form, Grader, Verdict, refusal
from echorl.tasks.verify.choice import leading_label, stated_label
from echorl.tasks.verify.hedges import is_hedged
from echorl.tasks.verify.mathematics import normal_form
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.quantity import read_quantity
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag, plain_characters

TOLERANCE = 0.01
LARGEST = 10**300
"""No problem has a value of this size or more, which may be too large for a float."""
KEYS = frozenset(("letter", "value", "choices"))
MAX_ANSWER_CHARS = 300

_STATED = re.compile(
    r"\banswer\s{0,3}(?:is|:|=)[\s:*$]{0,9}([+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?)(?![0-9^/\\])", re.IGNORECASE
)


@dataclass(frozen=True)
class GeometryGrader(Grader):
    r"""Grader of geometry. A success is the right letter, or a value within the tolerance of the right value.

    A value fails if another choice is nearer. The answer stands in the last `\boxed{...}`, else in the last
    `<answer>...</answer>`, else behind the last "answer is". `geometry_reference` makes the reference answers. A value
    that is not a plain number is computed by math-verify in a worker process.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one value."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "geometry"

    def read(self, text: str) -> str:
        """The letter or the value that the completion answers with; "" if there is none."""
        text = plain_characters(after_thinking(text))
        for place in (last_box(text), last_tag(text)):
            if place:
                return leading_label(place) or place
        numbers = _STATED.findall(text)
        return stated_label(text) or (numbers[-1] if numbers else "")

    def answer(self, text: str) -> str:
        """The letter or the value without layout."""
        return normal_form(self.read(text))

    def read_reference(self, value: Any) -> str:
        """The reference answer; ValueError if `geometry_reference` did not make it."""
        reference = super().read_reference(value)
        try:
            keys = json.loads(reference)
        except ValueError:
            keys = None
        if not isinstance(keys, dict) or not keys.keys() >= KEYS:
            raise ValueError(
                f"{reference[:80]!r} is not a reference answer of geometry; make one by "
                "geometry_reference(letter, value, choices)"
            )
        return reference

    def judge(self, answer: str, reference: str) -> Verdict | None:
        """Score of a letter or a plain number; None where math-verify has to compute the value."""
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        if answer.isalpha() and len(answer) == 1:
            return Verdict(float(answer == json.loads(reference)["letter"]))
        quantity = read_quantity(answer)
        if quantity and quantity.values:
            value = max(quantity.values)
            return Verdict(float(abs(value) < LARGEST and _is_right(float(value), reference)))
        return Verdict(0.0, NO_ANSWER) if is_hedged(answer) else None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts on values that math-verify computes."""
        rows = [(answer,) for answer, _ in pairs]
        outcomes = self.pool.call_each("latex_value", rows, timeout=self.timeout)
        return [
            outcome.verdict(partial(_score, reference)) for (_, reference), outcome in zip(pairs, outcomes, strict=True)
        ]

    def forms(self, reference: str) -> list[Form]:
        """The letter in a box and the value in a box, as far as the reference answer has them."""
        keys = json.loads(reference)
        letter, value = keys["letter"], keys["value"]
        letters = [Form(f"\\boxed{{{letter}}}", letter)] if letter else []
        return letters if value is None else [*letters, Form(f"\\boxed{{{value!r}}}", value)]


def geometry_reference(letter: str, value: float | None, choices: Sequence[float]) -> str:
    """A reference answer for `GeometryGrader`: the right letter, its value, and the values of all choices in order.

    The letter is "" where the prompt shows none. The value is None where the choices are statements, not numbers.

    >>> geometry_reference("B", 60.0, [30.0, 60.0, 120.0, 240.0])
    '{"letter": "B", "value": 60.0, "choices": [30.0, 60.0, 120.0, 240.0]}'
    """
    if value is None and not letter:
        raise ValueError("an item with neither a letter nor a value cannot be graded; exclude it")
    numbers = [*choices] if value is None else [value, *choices]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"the value {value!r} or one of the choices {list(choices)} is not a number; exclude the item")
    return json.dumps(
        {
            "letter": letter,
            "value": None if value is None else float(value),
            "choices": [float(choice) for choice in choices],
        }
    )


def tolerance(value: float) -> float:
    """The largest distance from the reference value at which an answer is right.

    >>> tolerance(200.0), tolerance(0.38), tolerance(0.0)
    (2.0, 0.005, 0.0)
    """
    decimals = len(repr(value).partition(".")[2])
    rounding = 0.5 * 10**-decimals if not value.is_integer() and decimals <= 3 else 0.0
    return max(TOLERANCE * abs(value), rounding)


def _score(reference: str, value: float | None) -> float:
    return float(value is not None and _is_right(value, reference))


def _is_right(value: float, reference: str) -> bool:
    keys = json.loads(reference)
    if keys["value"] is None:
        return False
    distance = abs(value - keys["value"])
    nearest = min((abs(value - choice) for choice in keys["choices"]), default=distance)
    return distance <= tolerance(keys["value"]) + 1e-9 and distance <= nearest
