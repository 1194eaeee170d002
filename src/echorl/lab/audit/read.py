"""A training log, read once from first to last row: its groups, evidence about its prompts, and what it cannot tell."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echorl.lab.audit.batches import Groups
from echorl.lab.audit.evidence import PromptEvidence
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.notes import describe
from echorl.lab.logs.columns import LogColumns
from echorl.lab.logs.files import ROWS_AT_ONCE
from echorl.lab.logs.places import find_log_files
from echorl.lab.logs.rows import LogFile, LoggedRollout, read_logs
from echorl.lab.options import Columns


@dataclass(frozen=True)
class Log:
    """A training log.

    Attributes:
        groups: its groups, in order of their steps.
        evidence: what was kept of each prompt.
        files: in the order of reading; `groups.file` counts them.
        columns: what the columns of the first file were read as; other files may have others (`notes` says so).
        notes: sentences on what was guessed, what was left out and what the log cannot tell.
    """

    groups: GroupTable
    evidence: PromptEvidence
    files: list[Path]
    columns: LogColumns
    notes: list[str]


def read_log(
    places: Sequence[Path], columns: Columns, success_reward: float, advance: Callable[[int], None] = lambda done: None
) -> Log:
    """Return the log that lies in files and folders.

    Args:
        columns: the user's names of columns.
        success_reward: a rollout succeeds from this reward of the verifier on.
        advance: takes the number of rows read so far.

    Raises:
        ValueError: a file is missing, empty or damaged, a row cannot be used, or the verifier's reward is open; the
            message begins with file and line.
    """
    files, notes = find_log_files(places)
    reading = Reading(success_reward)
    for log_file in read_logs(files, columns):
        reading.begin(log_file)
        rollouts = reading.without_repeats(log_file.rollouts) if log_file.columns.rolling else log_file.rollouts
        for rollout in rollouts:
            reading.add(rollout)
            if reading.num_rows % ROWS_AT_ONCE == 0:
                advance(reading.num_rows)
        if log_file.source.unfinished:
            notes.append(
                f"The last line of {log_file.source.path} is not whole and was left out: a run may be writing it."
            )
    advance(reading.num_rows)
    groups = reading.groups.table()
    if not len(groups):
        raise ValueError(f"{files[0]}: no row of the log is a rollout that was sampled for training: give another log.")
    notes += describe(reading, groups, files)
    return Log(groups, reading.evidence, files, reading.layouts[0][0], notes)


class Reading:
    """What is kept while a log is read."""

    def __init__(self, success_reward: float) -> None:
        self.success_reward = success_reward
        self.groups, self.evidence = Groups(), PromptEvidence()
        self.layouts: list[tuple[LogColumns, Path]] = []
        self.num_rows = self.num_repeated = self.num_not_for_training = self.num_without_verdict = 0
        self.largest_reward = -math.inf
        self.shown_steps: set[int] = set()
        self._prompts: dict[bytes, int] = {}
        self._compared: dict[str, int] = {}
        self._places: list[tuple[int, int]] = []
        self._previous: list[int] = []

    def begin(self, log_file: LogFile) -> None:
        """Take the columns of the next file."""
        layout = self.layout = log_file.columns
        if layout not in (each for each, _ in self.layouts):
            self.layouts.append((layout, log_file.source.path))
        places = [self._compared.setdefault(name, len(self._compared)) for name in layout.compared]
        self._places = list(zip(places, map(layout.rewards.index, layout.compared), strict=True))

    def without_repeats(self, rollouts: Iterator[LoggedRollout]) -> Iterator[LoggedRollout]:
        """Yield the rollouts that are new: a rolling log shows its last rows again until newer ones replace them."""
        for (step, _), rows in itertools.groupby(rollouts, key=lambda rollout: (rollout.step, rollout.batch)):
            if step is not None and step < max(self.shown_steps, default=step):
                self.groups.close()  # a run that was resumed samples the steps after its checkpoint again
            self.shown_steps.add(step or 0)
            batch = list(rows)
            marks = [hash((each.prompt, each.response, each.rewards, each.advantage)) for each in batch]
            repeated = overlap(self._previous, marks)
            self._previous = marks
            self.num_repeated += repeated
            yield from batch[repeated:]

    def add(self, rollout: LoggedRollout) -> None:
        """Take the next rollout in."""
        self.num_rows += 1
        if not rollout.for_training:
            self.num_not_for_training += 1
            return
        self.num_without_verdict += rollout.reward is None
        self.largest_reward = max(self.largest_reward, -math.inf if rollout.reward is None else rollout.reward)
        success = None if rollout.reward is None else rollout.reward >= self.success_reward
        prompt = self._number(rollout)
        compared = [math.nan] * len(self._compared)
        for place, index in self._places:
            reward = rollout.rewards[index]
            if reward is not None:
                compared[place] = reward
        key = rollout.group if self.layout.group_is_sure else (rollout.group, prompt)
        self.groups.add(rollout, key, prompt, success, compared)
        self.evidence.add(rollout, prompt, success)

    def _number(self, rollout: LoggedRollout) -> int:
        """Return the number of the rollout's prompt; without prompts each group of a step has its own."""
        text = rollout.prompt if self.layout.prompt else f"{rollout.step}\n{rollout.group}"
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        return self._prompts.setdefault(digest, len(self._prompts))


def overlap(previous: Sequence[int], rows: Sequence[int]) -> int:
    """Return how many rows at the beginning repeat the last ones of the previous batch.

    Some equal rows, of equal responses to one prompt, may be new: only different ones show an overlap, or all.

    >>> overlap([1, 2, 3, 4], [3, 4, 5, 6]), overlap([1, 2], [1, 2]), overlap([1, 2], [2, 3]), overlap([], [1])
    (2, 2, 0, 0)
    """
    for start, mark in enumerate(previous):
        size = len(previous) - start
        if mark == rows[0] and size <= len(rows) and list(previous[start:]) == list(rows[:size]):
            return size if size == len(rows) or len(set(rows[:size])) > 1 else 0
    return 0
