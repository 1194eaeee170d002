"""A training log, read once from first to last row: its groups, evidence about its prompts, and what it cannot tell."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from echorl.core.statistics import are_equal
from echorl.lab.audit.batches import Groups
from echorl.lab.audit.evidence import PromptEvidence
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.notes import describe
from echorl.lab.audit.repeats import Repeats
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
        for rollout in reading.new_rollouts(log_file):
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
        problem = (
            "no prompt has two rollouts in one step, so there are no groups to compare: name the column of the group "
            "with --group, or that of the prompt with --prompt."
            if reading.groups.counts["single"]
            else "no row of the log is a rollout that was sampled for training: give another log."
        )
        raise ValueError(f"{files[0]}: {problem}")
    notes += describe(reading, groups, files)
    return Log(groups, reading.evidence, files, reading.layouts[0][0], notes)


class Reading:
    """The groups, prompts and evidence that are kept while a log is read."""

    def __init__(self, success_reward: float) -> None:
        self.success_reward = success_reward
        self.groups, self.evidence = Groups(), PromptEvidence()
        self.layouts: list[tuple[LogColumns, Path]] = []
        self.repeats = Repeats()
        self.num_rows = self.num_not_for_training = self.num_without_verdict = 0
        self.largest_reward = -math.inf
        self._prompts: dict[bytes, int] = {}
        self._compared: dict[str, int] = {}
        self._places: list[tuple[int, int]] = []
        self._folder: Path | None = None

    def begin(self, log_file: LogFile) -> None:
        """Take the columns of the next file."""
        layout, path = log_file.columns, log_file.source.path
        if path.parent != self._folder:  # of another run, or prime-rl's next step
            self.repeats.forget()
        if path.parent != self._folder or layout.rolling:
            self.groups.close()
        self.layout, self._folder = layout, path.parent
        if layout not in (each for each, _ in self.layouts):
            self.layouts.append((layout, path))
        places = [self._compared.setdefault(name, len(self._compared)) for name in layout.compared]
        self._places = list(zip(places, map(layout.rewards.index, layout.compared), strict=True))

    def new_rollouts(self, log_file: LogFile) -> Iterator[LoggedRollout]:
        """Yield the rollouts of a file but for those that a rolling log shows again."""
        if not log_file.columns.rolling:
            yield from log_file.rollouts
            return
        last_step = 0
        for batch in self.repeats.batches(log_file.rollouts):
            for rollout in batch[:1]:
                step = rollout.step or 0
                if rollout.batch and step < last_step:
                    self.groups.close()  # a run that was resumed samples the steps after its checkpoint again
                last_step = step
            yield from batch

    def add(self, rollout: LoggedRollout) -> None:
        """Take the next rollout in."""
        self.num_rows += 1
        if not rollout.for_training:
            self.num_not_for_training += 1
            return
        self.num_without_verdict += rollout.reward is None
        self.largest_reward = max(self.largest_reward, -math.inf if rollout.reward is None else rollout.reward)
        success = None if rollout.reward is None else self.succeeds(rollout.reward)
        prompt = self._number(rollout)
        compared = [0.0 if self.layout.rolling else math.nan] * len(self._compared)  # TRL adds 0 for a missing one
        for place, index in self._places:
            reward = rollout.rewards[index]
            if reward is not None:
                compared[place] = reward
        key = rollout.group if self.layout.group_is_sure else (rollout.group, prompt)
        self.groups.add(rollout, key, prompt, success, compared)
        self.evidence.add(rollout, prompt, success)

    def succeeds(self, reward: float) -> bool:
        """Return whether the verifier accepts, up to rounding: 0.9 in float32 is a little less than 0.9."""
        return reward >= self.success_reward or bool(are_equal(reward, self.success_reward))

    def _number(self, rollout: LoggedRollout) -> int:
        """Return the number of the rollout's prompt; without prompts each group of a step has its own."""
        text = rollout.prompt if self.layout.prompt else f"{rollout.step}\n{rollout.group}"
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        return self._prompts.setdefault(digest, len(self._prompts))
