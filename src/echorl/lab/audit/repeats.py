"""Rows that a rolling log shows again: TRL and ms-swift log the last batch at every logging step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from echorl.lab.logs.rows import LoggedRollout

Mark = tuple[int, int]
"""Hashes of a rollout's prompt, and of all of the rollout."""


class Repeats:
    """The batches of a rolling log, without the rows that it shows again until newer ones replace them.

    Equal batches may be new ones: a policy that has collapsed gives one response to a prompt. So a repeat is proven
    only by different responses to a prompt. Other equal batches are repeats if they go on with the log's pattern: so
    far it showed each batch the same number of times.

    Attributes:
        num_repeated: rows that were left out.
        num_open: rows that may be repeats, and were not left out.
        steps: those that the log shows a batch at.
    """

    def __init__(self) -> None:
        self.num_repeated = self.num_open = 0
        self.steps: set[int] = set()
        self._times: set[int] = set()  # how often batches were shown
        self.forget()

    def forget(self) -> None:
        """Forget the last batch: another run begins."""
        self._previous: list[Mark] = []
        self._shown, self._is_certain = 0, True

    def batches(self, rollouts: Iterable[LoggedRollout]) -> Iterator[list[LoggedRollout]]:
        """Yield the new rollouts of each batch: of rows of a step that follow each other, and of one line."""
        for (step, _), rows in groupby(rollouts, key=lambda rollout: (rollout.step or 0, rollout.batch)):
            batch = list(rows)
            self.steps.add(step)
            num_repeated = self._num_repeated(batch)
            self.num_repeated += num_repeated
            yield batch[num_repeated:]

    def _num_repeated(self, batch: list[LoggedRollout]) -> int:
        marks = [_mark(each) for each in batch]
        size, self._previous = overlap(self._previous, marks), marks
        proven = len(set(marks[:size])) > len({prompt for prompt, _ in marks[:size]})
        if size == len(batch):
            return size if self._is_shown_again(proven, size) else 0
        if self._is_certain and self._shown:
            self._times.add(self._shown)
        self._shown, self._is_certain = 1, True
        if not proven:
            self.num_open += size
        return size if proven else 0

    def _is_shown_again(self, proven: bool, size: int) -> bool:
        """Return whether a batch that is equal to the last one is no new one."""
        has_pattern = len(self._times) == 1
        if proven or (has_pattern and self._shown < max(self._times)):
            self._shown += 1
            return True
        self._shown = 1
        if not has_pattern:
            self._is_certain = False
            self.num_open += size
        return False


def _mark(rollout: LoggedRollout) -> Mark:
    return hash(rollout.prompt), hash((rollout.prompt, rollout.response, rollout.rewards, rollout.advantage))


def overlap(previous: Sequence[Mark], rows: Sequence[Mark]) -> int:
    """Return how many rows at the beginning are equal to the last ones of the previous batch.

    They must be whole groups, and at least those of two prompts or half of the batch: fewer may be equal by chance.

    >>> overlap([(1, 1), (1, 2), (2, 3), (2, 4)], [(2, 3), (2, 4), (3, 5), (3, 6)])
    2
    >>> overlap([(1, 1), (1, 2)], [(1, 1), (1, 2)]), overlap([(1, 1), (1, 2)], [(1, 2), (1, 3)]), overlap([], [(1, 1)])
    (2, 0, 0)
    """
    for start, mark in enumerate(previous):
        size = len(previous) - start
        if mark == rows[0] and size <= len(rows) and list(previous[start:]) == list(rows[:size]):
            begins = start == 0 or previous[start - 1][0] != mark[0]
            ends = size == len(rows) or rows[size][0] != rows[size - 1][0]
            if begins and ends and (2 * size >= len(rows) or len({prompt for prompt, _ in rows[:size]}) > 1):
                return size
    return 0
