"""What a grader is, and the check that one accepts its own gold answers and no others."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from echorl.tasks.base import gold_text
from echorl.tasks.verify.reading import depth

NO_ANSWER, TOO_LONG, TOO_DEEP = "no answer", "too long", "too deep"
MAX_DEPTH = 12
"""Levels of brackets: math-verify's time grows steeply with them. The golds of the benchmarks have up to 4."""


@dataclass(frozen=True)
class Verdict:
    """What a grader says of one completion.

    Attributes:
        score: 1.0 a success, 0.0 a failure; between them where a scorer of reasoning-gym gives part of the credit.
        reason: "" if the answer was read and compared; else why it scores 0: "no answer", "too long", "too deep" (its
            brackets), "unreadable" (mathematics without a tree), "timeout", "memory", "died" (its worker process
            ended), "tampered" (the call changed its scorer or wrote to the pipe of replies), or "error " and the
            exception's name.
    """

    score: float
    reason: str = ""


@dataclass(frozen=True)
class Slip:
    """A completion that `validate` wrote and the grader judged wrongly."""

    kind: str
    """"own": a gold's own answer was refused; "other": another gold's answer was accepted."""
    gold: str
    completion: str
    verdict: Verdict


@dataclass(frozen=True)
class Validation:
    """How a grader treats golds: `own` answers should all be accepted, `other` golds' answers never.

    `unreadable` golds are compared as texts alone: an answer that is written otherwise is lost.
    """

    own: int
    own_accepted: int
    other: int
    other_accepted: int
    slips: tuple[Slip, ...] = ()
    unreadable: tuple[str, ...] = ()


class Grader(Protocol):
    """Scores completions against gold answers. Safe in any thread, on any text."""

    @property
    def name(self) -> str: ...

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order; none for no completions.

        Raises:
            ValueError: a gold is none of this grader's; names it and its place.
        """

    def answer(self, text: str) -> str:
        """The answer that it reads from a completion, in a normal form; "" if there is none."""

    def validate(self, golds: Sequence[str]) -> Validation:
        """Whether each gold's own answer scores 1, and that of a gold of another value less."""


@dataclass(frozen=True)
class Written:
    """A gold's answer as a completion, and its value: answers of equal value are not told apart."""

    completion: str
    value: Hashable


def refusal(answer: str, *, max_chars: int) -> Verdict | None:
    """A failure, if there is no answer or it is one that no worker should see."""
    if not answer:
        return Verdict(0.0, NO_ANSWER)
    if len(answer) > max_chars:
        return Verdict(0.0, TOO_LONG)
    return Verdict(0.0, TOO_DEEP) if depth(answer) > MAX_DEPTH else None


class AnswerGrader(ABC):
    """What all graders share: read the answer, judge it at once if that is safe, ask a worker process if not."""

    name: ClassVar[str]

    @abstractmethod
    def read(self, text: str) -> str:
        """The answer as it stands in the completion; "" if there is none."""

    @abstractmethod
    def judge(self, answer: str, gold: str) -> Verdict | None:
        """A verdict in bounded time, or None where a worker has to look."""

    @abstractmethod
    def write(self, gold: str) -> list[Written]:
        """The gold's answer in each of the forms that the grader accepts."""

    def answer(self, text: str) -> str:
        return self.read(text)

    def is_readable(self, gold: str) -> bool:
        """Whether it has a meaning for this grader beyond its text."""
        return True

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts on the (answer, gold) pairs that `judge` left open, by workers."""
        raise NotImplementedError(f"the grader {self.name!r} judges every answer itself")

    def gold(self, value: Any) -> str:
        """The gold answer as `judge` takes it, from a text or a number.

        Raises:
            ValueError: it is neither, or no answer of this kind.
        """
        return gold_text(value)

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        return self._judge_all(texts, [self._gold(value, row) for row, value in enumerate(golds)])

    def _judge_all(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """Verdicts on golds that `gold` has read."""
        pairs = [(self.read(text), gold) for text, gold in zip(texts, golds, strict=True)]
        verdicts = [self.judge(*pair) for pair in pairs]
        open_pairs = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is None]
        answers = iter(self.ask(open_pairs) if open_pairs else [])
        return [next(answers) if verdict is None else verdict for verdict in verdicts]

    def validate(self, golds: Sequence[str]) -> Validation:
        written = [self.write(gold) for gold in golds]
        own = [(gold, form.completion) for gold, forms in zip(golds, written, strict=True) for form in forms]
        other = [(golds[i], form.completion) for i, form in _shuffled(written)]
        own_verdicts, other_verdicts = self._grade_pairs(own), self._grade_pairs(other)
        refused = _slips("own", own, own_verdicts, [verdict.score != 1.0 for verdict in own_verdicts])
        accepted = _slips("other", other, other_verdicts, [verdict.score == 1.0 for verdict in other_verdicts])
        unreadable = tuple(gold for gold in golds if not self.is_readable(gold))
        counts = len(own), len(own) - len(refused), len(other), len(accepted)
        return Validation(*counts, (*refused, *accepted), unreadable)

    def _gold(self, value: Any, row: int) -> str:
        try:
            return self.gold(value)
        except ValueError as error:
            raise ValueError(f"the grader {self.name!r}: gold {row}: {error}") from None

    def _grade_pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        return self.grade([text for _, text in pairs], [gold for gold, _ in pairs])


def _slips(
    kind: str, pairs: Iterable[tuple[str, str]], verdicts: Iterable[Verdict], wrong: Iterable[bool]
) -> list[Slip]:
    return [
        Slip(kind, gold, text, verdict)
        for (gold, text), verdict, bad in zip(pairs, verdicts, wrong, strict=True)
        if bad
    ]


def _shuffled(written: Sequence[Sequence[Written]]) -> list[tuple[int, Written]]:
    """(gold's index, another gold's answer) for each form, never of the same value."""
    found = []
    for form in range(max(map(len, written), default=0)):
        rows = [(i, forms[form]) for i, forms in enumerate(written) if form < len(forms)]
        found += _derangement(rows)
    return found


def _derangement(rows: list[tuple[int, Written]]) -> list[tuple[int, Written]]:
    """Rows of one value side by side, the values in random order, then turned by the size of the largest value."""
    sizes = Counter(answer.value for _, answer in rows)
    values = sorted(sizes, key=repr)
    random.Random(0).shuffle(values)
    place = {value: i for i, value in enumerate(values)}
    rows = sorted(rows, key=lambda row: place[row[1].value])
    turn = max(sizes.values(), default=0)
    others = rows[turn:] + rows[:turn]
    return [(i, other) for (i, own), (_, other) in zip(rows, others, strict=True) if other.value != own.value]
