"""Evidence that is kept of each prompt while a log is read, from which `suspects` finds what looks wrong."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Collection
from typing import NamedTuple

from echorl.lab.audit.answers import MAX_ANSWER_CHARS, is_same, read_answer, read_reference
from echorl.lab.logs.rows import LoggedRollout

MAX_PLACES = 8
"""Places that are kept of the rollouts of a tally."""
MAX_ANSWERS = 4
"""Different rejected answers, and different reference answers, that are counted for a prompt at a time."""
MAX_VALUES = 100
"""Different rewards that are counted one by one; further ones are counted together, as the value nan."""
_PLACE = struct.Struct("=iq")


class Place(NamedTuple):
    """A rollout in the log: the file's place among those read, and the line from 1."""

    file: int
    line: int


class Tally:
    """A number of rollouts, with the places of the first ones."""

    __slots__ = ("_places", "count")

    def __init__(self) -> None:
        self.count = 0
        self._places = b""  # packed: a large log has many tallies

    def add(self, rollout: LoggedRollout) -> None:
        self.count += 1
        if self.count <= MAX_PLACES:
            self._places += _PLACE.pack(rollout.file, rollout.line)

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(Place(*place) for place in _PLACE.iter_unpack(self._places))


def counted_as(reward: float, counted: Collection[float]) -> float:
    """Return the reward, or nan for a further one where `MAX_VALUES` are counted already."""
    is_apart = reward in counted or (len(counted) < MAX_VALUES and not math.isnan(reward))
    return reward if is_apart else math.nan


class Rejected:
    """Answers of a prompt's rejected rollouts.

    Attributes:
        count: all rejected rollouts.
        answers: answer -> rollouts that gave it. Where there are more than `MAX_ANSWERS`, the rarest one makes room, so
            that a count may be too low. An answer of most rollouts is counted rightly but for its first few.
        unreadable: rollouts without an answer that can be read.
        truncated: number of rollouts that ended at the limit of length.
    """

    __slots__ = ("answers", "count", "truncated", "unreadable")

    def __init__(self) -> None:
        self.count = self.truncated = 0
        self.answers: dict[str, Tally] = {}
        self.unreadable = Tally()

    def add(self, rollout: LoggedRollout) -> None:
        is_truncated = rollout.truncated is True
        self.count += 1
        self.truncated += is_truncated
        answer = read_answer(rollout.response or "", truncated=is_truncated)
        tally = self._tally(answer) if answer else self.unreadable
        tally.add(rollout)

    def _tally(self, answer: str) -> Tally:
        if answer not in self.answers and len(self.answers) == MAX_ANSWERS:
            del self.answers[min(self.answers, key=lambda each: self.answers[each].count)]
        return self.answers.setdefault(answer, Tally())

    def commonest(self) -> tuple[str, Tally]:
        """Return the answer that most rollouts gave, with these rollouts; "" and none where no answer was read."""
        return max(self.answers.items(), key=lambda each: each[1].count, default=("", Tally()))

    @property
    def agreeing(self) -> int:
        """Number of rollouts that gave the commonest answer."""
        return self.commonest()[1].count

    @property
    def places(self) -> tuple[Place, ...]:
        """Rollouts with different answers, the commonest first."""
        tallies = sorted(self.answers.values(), key=lambda each: -each.count)
        places = [tally.places[:2] for tally in (*tallies, self.unreadable)]
        return tuple(place for pair in places for place in pair)[:MAX_PLACES]


class PromptEvidence:
    """Evidence of each prompt, and of the log. Memory is bounded per prompt, whatever its rollouts.

    Attributes:
        rejected: prompt without a success -> its rejected rollouts.
        references: prompt -> its first reference answer with the place. A long one is shortened, with a hash.
        other_references: prompt -> different reference answer -> rollouts with it; the first ones. Answers that are the
            same in another form are not different.
        rewards: the verifier's reward -> rollouts with it.
        truncated: number of truncated rollouts that were rejected and that were accepted.
        complete: the same of rollouts that the log says are not truncated.
        truncated_successes: prompt -> rollouts that were accepted although they are truncated.
    """

    def __init__(self) -> None:
        self.rejected: dict[int, Rejected] = {}
        self.references: dict[int, tuple[str, Place]] = {}
        self.other_references: dict[int, dict[str, Tally]] = {}
        self.rewards: dict[float, Tally] = {}
        self.truncated, self.complete = [0, 0], [0, 0]
        self.truncated_successes: dict[int, Tally] = {}
        self._solved: set[int] = set()

    def add(self, rollout: LoggedRollout, prompt: int, success: bool | None) -> None:
        """Take the next rollout of the log in. `success`: the verifier's verdict; None where it gave none."""
        if rollout.reference_answer is not None:
            self._add_reference(rollout, prompt, rollout.reference_answer)
        if rollout.reward is not None:
            self._add_reward(rollout, rollout.reward)
        if success is None:
            return
        if rollout.truncated is not None:
            (self.truncated if rollout.truncated else self.complete)[success] += 1
            if rollout.truncated and success:
                self.truncated_successes.setdefault(prompt, Tally()).add(rollout)
        if success:
            self._solved.add(prompt)
            self.rejected.pop(prompt, None)
        elif prompt not in self._solved:
            if prompt not in self.rejected:
                self.rejected[prompt] = Rejected()
            self.rejected[prompt].add(rollout)

    def _add_reference(self, rollout: LoggedRollout, prompt: int, text: str) -> None:
        text = short_reference(read_reference(text))
        first = self.references.get(prompt)
        if first is None:
            self.references[prompt] = (text, Place(rollout.file, rollout.line))
        elif text != first[0] and not is_same(text, first[0]):
            answers_seen = self.other_references.setdefault(prompt, {})
            text = next((each for each in answers_seen if is_same(text, each)), text)
            if text in answers_seen or len(answers_seen) < MAX_ANSWERS:
                answers_seen.setdefault(text, Tally()).add(rollout)

    def _add_reward(self, rollout: LoggedRollout, reward: float) -> None:
        self.rewards.setdefault(counted_as(reward, self.rewards), Tally()).add(rollout)

    def reference_answer(self, prompt: int) -> str | None:
        """Return a prompt's first reference answer; None where the log has none."""
        return self.references[prompt][0] if prompt in self.references else None


def short_reference(text: str) -> str:
    """Return a reference answer itself, or a long one as its beginning and a hash.

    >>> short_reference("1/2"), len(short_reference("1" * 10**6))
    ('1/2', 318)
    """
    if len(text) <= MAX_ANSWER_CHARS:
        return text
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{text[:MAX_ANSWER_CHARS]}… {digest}"
