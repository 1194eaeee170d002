"""Evidence that is kept of each prompt while a log is read, from which `suspects` finds what looks wrong."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from echorl.lab.audit.answers import read_answer

if TYPE_CHECKING:
    from echorl.lab.logs.rows import LoggedRollout

MAX_PLACES = 8
"""Rollouts to look at that are kept of a suspect."""
MAX_ANSWERS = 4
"""Different rejected answers that are counted for a prompt at a time."""


class Place(NamedTuple):
    """A rollout in the log: the file's place among those read, and the line from 1."""

    file: int
    line: int


class Tally:
    """A number of rollouts, with the places of the first ones."""

    __slots__ = ("_places", "count")

    def __init__(self) -> None:
        self.count = 0
        self._places = array("q")

    def add(self, rollout: LoggedRollout) -> None:
        self.count += 1
        if self.count <= MAX_PLACES:
            self._places.extend((rollout.file, rollout.line))

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(map(Place, self._places[::2], self._places[1::2]))


class Rejected:
    """Answers of a prompt's rejected rollouts.

    Attributes:
        answers: answer -> rollouts that gave it. Where there are more than `MAX_ANSWERS`, the rarest one makes room, so
            that a count may be too low; that of an answer of most rollouts is not.
        unreadable: rollouts without an answer that can be read.
        count: all rejected rollouts.
    """

    __slots__ = ("answers", "count", "unreadable")

    def __init__(self) -> None:
        self.answers: dict[str, Tally] = {}
        self.unreadable = Tally()
        self.count = 0

    def add(self, rollout: LoggedRollout, answer: str) -> None:
        self.count += 1
        if not answer:
            self.unreadable.add(rollout)
            return
        if answer not in self.answers:
            if len(self.answers) == MAX_ANSWERS:
                del self.answers[min(self.answers, key=lambda each: self.answers[each].count)]
            self.answers[answer] = Tally()
        self.answers[answer].add(rollout)

    def commonest(self) -> tuple[str, Tally]:
        """Return the answer that most rollouts gave, with these rollouts; "" and none where no answer was read."""
        return max(self.answers.items(), key=lambda each: each[1].count, default=("", Tally()))


class PromptEvidence:
    """What is kept of each prompt. Memory is bounded per prompt, whatever the number and length of its rollouts."""

    def __init__(self) -> None:
        self._rejected: dict[int, Rejected] = {}
        self._solved: set[int] = set()
        self._references: dict[int, str] = {}

    def add(self, rollout: LoggedRollout, prompt: int, success: bool | None) -> None:
        """Take the next rollout of the log in. `success`: the verifier's verdict; None where it gave none."""
        if rollout.reference_answer is not None and prompt not in self._references:
            self._references[prompt] = rollout.reference_answer
        if success:
            self._solved.add(prompt)
            self._rejected.pop(prompt, None)
        elif success is not None and prompt not in self._solved:
            self._add_rejected(rollout, prompt)

    def _add_rejected(self, rollout: LoggedRollout, prompt: int) -> None:
        answer = read_answer(rollout.response or "", truncated=rollout.truncated is True)
        self._rejected.setdefault(prompt, Rejected()).add(rollout, answer)

    def never_accepted(self) -> Iterator[tuple[int, Rejected]]:
        """Return the prompts without a success, each with the answers of its rollouts."""
        return iter(self._rejected.items())

    def reference_answer(self, prompt: int) -> str | None:
        """Return the first reference answer of a prompt; None where the log has none."""
        return self._references.get(prompt)
