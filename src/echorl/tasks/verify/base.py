"""The base class of graders, and the check of a grader against reference answers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from echorl.support.errors import located
from echorl.tasks.base import reference_text
from echorl.tasks.verify.reading import depth

NO_ANSWER, TOO_LONG, TOO_DEEP = "no answer", "too long", "too deep"
MAX_DEPTH = 12
"""Levels of brackets: math-verify's time grows steeply with them. The benchmarks' reference answers have up to 4."""


@dataclass(frozen=True)
class Verdict:
    """Score of one completion, and why it is 0 where the answer was not compared.

    Attributes:
        score: 1.0 for a success, 0.0 for a failure; between them where a scorer of reasoning-gym gives partial credit.
        reason: "" if the answer was read and compared; else why it scores 0: "no answer", "too long", "too deep" (its
            brackets), "unreadable" (mathematics without a tree), "timeout", "memory", "died" (its worker process
            ended), "tampered" (the call changed its scorer or wrote to the pipe of replies), or "error " and the
            exception's name.
    """

    score: float
    reason: str = ""


@dataclass(frozen=True)
class Slip:
    """A completion of `validate` that the grader scored wrongly."""

    kind: Literal["refused", "accepted"]
    """"refused": a right answer was not accepted; "accepted": a wrong answer was."""
    reference_answer: str
    completion: str
    verdict: Verdict


@dataclass(frozen=True)
class Validation:
    """Counts of the right and the wrong answers that a grader accepts. It should accept all right and no wrong ones.

    A right answer is a reference answer graded against itself. A wrong answer is a reference answer graded against
    another one of another value.

    Attributes:
        slips: the answers that the grader scored wrongly.
        unreadable: reference answers that are only compared as texts, so that an answer in another form fails.
    """

    right: int
    right_accepted: int
    wrong: int
    wrong_accepted: int
    slips: tuple[Slip, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Form:
    """A reference answer as a completion, and its value: answers of equal value count as the same answer."""

    completion: str
    value: Hashable


def refusal(answer: str, *, max_chars: int) -> Verdict | None:
    """A failure for an answer that is empty or that no worker should read; None for any other."""
    if not answer:
        return Verdict(0.0, NO_ANSWER)
    if len(answer) > max_chars:
        return Verdict(0.0, TOO_LONG)
    return Verdict(0.0, TOO_DEEP) if depth(answer) > MAX_DEPTH else None


class Grader(ABC):
    """Base class of the graders, which are safe in any thread, on any text.

    `judge` decides at once where that is safe, and `ask` lets a worker process decide.

    Attributes:
        name: key of the grader in `GRADERS`.
    """

    name: ClassVar[str]

    @abstractmethod
    def read(self, text: str) -> str:
        """The answer as it stands in the completion; "" if there is none."""

    @abstractmethod
    def judge(self, answer: str, reference: str) -> Verdict | None:
        """A verdict in bounded time, or None where a worker has to look."""

    @abstractmethod
    def forms(self, reference: str) -> list[Form]:
        """The reference answer in each form that the grader accepts."""

    def answer(self, text: str) -> str:
        """The answer in a completion, in a normal form; "" if there is none."""
        return self.read(text)

    def is_readable(self, reference: str) -> bool:
        """Return whether the grader reads more than a text in the reference answer."""
        return True

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of workers on the (answer, reference answer) pairs for which `judge` returned None."""
        raise NotImplementedError(f"the grader {self.name!r} judges every answer itself")

    def read_reference(self, value: Any) -> str:
        """The reference answer as `judge` takes it, from a text or a number.

        Raises:
            ValueError: it is neither, or the grader cannot compare with it.
        """
        return reference_text(value)

    def grade(self, texts: Sequence[str], reference_answers: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order.

        Raises:
            ValueError: the grader cannot use a reference answer; the message names it and its row.
        """
        references = []
        for row, value in enumerate(reference_answers):
            with located(f"the grader {self.name!r}: reference answer {row}"):
                references.append(self.read_reference(value))
        return self._judge_all(texts, references)

    def _judge_all(self, texts: Sequence[str], references: Sequence[str]) -> list[Verdict]:
        """Verdicts against reference answers that `read_reference` returned."""
        pairs = [(self.read(text), reference) for text, reference in zip(texts, references, strict=True)]
        verdicts = [self.judge(*pair) for pair in pairs]
        undecided = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is None]
        worker_verdicts = iter(self.ask(undecided) if undecided else [])
        return [next(worker_verdicts) if verdict is None else verdict for verdict in verdicts]

    def validate(self, reference_answers: Sequence[str]) -> Validation:
        """Counts of the reference answers that score 1 against themselves, and against one of another value."""
        forms = [self.forms(reference) for reference in reference_answers]
        right = [
            (reference, form.completion)
            for reference, row in zip(reference_answers, forms, strict=True)
            for form in row
        ]
        wrong = [(reference_answers[row], form.completion) for row, form in _shuffled(forms)]
        refused, accepted = self._slips("refused", right), self._slips("accepted", wrong)
        return Validation(
            right=len(right),
            right_accepted=len(right) - len(refused),
            wrong=len(wrong),
            wrong_accepted=len(accepted),
            slips=(*refused, *accepted),
            unreadable=tuple(reference for reference in reference_answers if not self.is_readable(reference)),
        )

    def _slips(self, kind: Literal["refused", "accepted"], pairs: Sequence[tuple[str, str]]) -> list[Slip]:
        """The (reference answer, completion) pairs that the grader refuses, or that it accepts."""
        verdicts = self.grade([text for _, text in pairs], [reference for reference, _ in pairs])
        return [
            Slip(kind, reference, text, verdict)
            for (reference, text), verdict in zip(pairs, verdicts, strict=True)
            if (verdict.score == 1.0) == (kind == "accepted")
        ]


def _shuffled(forms: Sequence[Sequence[Form]]) -> list[tuple[int, Form]]:
    """Pairs of a reference answer's index and a form of a reference answer of another value, one for each form."""
    pairs = []
    for column in range(max(map(len, forms), default=0)):
        pairs += _derangement([(i, row[column]) for i, row in enumerate(forms) if column < len(row)])
    return pairs


def _derangement(rows: list[tuple[int, Form]]) -> list[tuple[int, Form]]:
    """Each row's index with the form of another row: the rows, sorted by value in random order, are rotated.

    The rotation is by the number of rows of the most frequent value, so that no row meets its own value.
    """
    sizes = Counter(form.value for _, form in rows)
    values = sorted(sizes, key=repr)
    random.Random(0).shuffle(values)
    ranks = {value: i for i, value in enumerate(values)}
    rows = sorted(rows, key=lambda row: ranks[row[1].value])
    rotation = max(sizes.values(), default=0)
    rotated = rows[rotation:] + rows[:rotation]
    return [(i, wrong) for (i, right), (_, wrong) in zip(rows, rotated, strict=True) if wrong.value != right.value]
