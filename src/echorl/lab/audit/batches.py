"""Rollouts of a log, collected step by step into the columns of a `GroupTable`."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from echorl.core.statistics import are_equal
from echorl.lab.audit.groups import GroupTable, Unit
from echorl.lab.audit.visits import MIN_RUNS, Ints, block_size, in_order, may_all_come_several_times, split_visits
from echorl.lab.logs.rows import LoggedRollout

MAX_ZERO = 0.01
"""Advantages below it are 0 up to rounding, if those of the group are equal."""
NO_STEP = -1
ROW = {
    "group": "i", "prompt": "i", "verdict": "b", "tokens": "i", "characters": "i", "truncated": "b", "text": "q",
    "file": "i", "line": "q",
}  # fmt: skip
"""Integers that are kept of a rollout until its step is closed, and their types."""
LENGTHS = ("tokens", "with_tokens", "characters")
COLUMNS = (*(each.name for each in fields(GroupTable) if each.name not in ("length", "unit")), *LENGTHS)


class Groups:
    """The groups of a log. Of a rollout some 60 bytes are kept until its step is closed, a file or two later.

    Attributes:
        counts: what had to be decided: "split", groups told apart from another of their prompt in the step; "unsplit",
            groups with a multiple of the usual size that were not; "open_steps", steps in which no prompt shows the
            size of a group; "reopened", steps that came again after they were closed; "several_prompts", groups with
            more than one prompt; "single", groups of one rollout, which are left out; "unfinished", the last group,
            left out; "without_length", rollouts.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._open: dict[int, Batch] = {}
        self._file = -1
        self._closed: set[int] = set()
        self._undecided: list[tuple[int, Batch]] = []
        self._columns = {name: array("q") for name in COLUMNS}

    def add(self, rollout: LoggedRollout, key: Any, prompt: int, success: bool | None, compared: list[float]) -> None:
        """Take a rollout in.

        Args:
            key: equal for the rollouts of a group, and perhaps for those of another group of the prompt in the step;
                text where it is surely one group.
            prompt: the prompt's number.
            success: the verifier's verdict; None without one.
            compared: the rewards that advantages are made of, NaN where there is none.
        """
        if rollout.file != self._file:
            self._begin_file(rollout)
        step = NO_STEP if rollout.step is None else rollout.step
        batch = self._open.get(step)
        if batch is None:
            self.counts["reopened"] += step in self._closed
            batch = self._open[step] = Batch()
        batch.add(rollout, key, prompt, success, compared)

    def _begin_file(self, rollout: LoggedRollout) -> None:
        """Close the steps without rows in the file before; all, if the new file begins the steps again.

        Rows of a step may stand anywhere in a file, as an asynchronous trainer's do, and go on in the next one.
        """
        steps = [step for step, batch in self._open.items() if batch.last_file == self._file]
        if rollout.step is not None and steps and min(steps) != max(steps) and rollout.step <= min(steps):
            steps = []
        for step in self._open.keys() - steps:
            self._close(step)
        self._file = rollout.file

    def _close(self, step: int) -> None:
        self._closed.add(step)
        batch = self._open.pop(step)
        if step != NO_STEP and batch.is_open():
            self._undecided.append((step, batch))
        else:
            self._take(step, batch, None)

    def _take(self, step: int, batch: Batch, block: int | None) -> None:
        columns = batch.close(step != NO_STEP, block, self.counts)
        columns["step"] = np.full(len(columns["size"]), step)
        for name, values in columns.items():
            self._columns[name].frombytes(values.astype(np.int64).tobytes())

    def close(self) -> None:
        """Close all steps: rows of theirs that come later are batches of their own."""
        while self._open:
            self._close(next(iter(self._open)))

    def table(self) -> GroupTable:
        """Close all steps, and return the groups in order of their steps, those of a step as the log has them.

        Groups of one rollout, and the last one where a run is writing it, are left out.
        """
        self.close()
        block = block_size([(batch.group, batch.advantage) for _, batch in self._undecided])
        for step, batch in self._undecided:
            self._take(step, batch, block)
        columns = {name: np.array(values, dtype=np.int64) for name, values in self._columns.items()}
        lengths, unit = self._lengths(columns["size"], *(columns.pop(name) for name in LENGTHS))
        degenerate = columns.pop("degenerate") != 0
        table = GroupTable(**columns, degenerate=degenerate, length=lengths, unit=unit)
        complete = table.size > 1
        self.counts["single"] += int((~complete).sum())
        if self._ends_within_group(table[complete]):
            self.counts["unfinished"] += 1
            complete[np.lexsort((table.line, table.file))[-1]] = False
        table = table[complete]
        return table[np.argsort(table.step, kind="stable")]

    def _lengths(self, size: Ints, tokens: Ints, with_tokens: Ints, characters: Ints) -> tuple[Ints, Unit]:
        """Return the lengths of groups and their unit; a rollout without a number of tokens has the group's mean."""
        missing = int((size - with_tokens).sum())
        if 2 * missing > size.sum() or not len(size):
            return characters, "characters"
        self.counts["without_length"] += missing
        mean = np.where(with_tokens > 0, tokens / np.maximum(with_tokens, 1), tokens.sum() / with_tokens.sum())
        return tokens + np.rint(mean * (size - with_tokens)).astype(np.int64), "tokens"

    @staticmethod
    def _ends_within_group(table: GroupTable) -> bool:
        """Return whether the log's last group alone is smaller than the others, which have one size."""
        if len(table) < MIN_RUNS:
            return False
        sizes = table.size[np.lexsort((table.line, table.file))]
        return bool((sizes[:-1] == sizes[0]).all() and sizes[-1] < sizes[0])


class Batch:
    """The rollouts of one step, as columns of numbers."""

    def __init__(self) -> None:
        self._keys: dict[Any, int] = {}
        self._rows = {name: array(type_code) for name, type_code in ROW.items()}
        self._advantage = array("d")
        self._rewards: list[array[float]] = []

    @property
    def last_file(self) -> int:
        """The file of the last row."""
        return self._rows["file"][-1]

    def add(self, rollout: LoggedRollout, key: Any, prompt: int, success: bool | None, compared: list[float]) -> None:
        """Add a row; the arguments are those of `Groups.add`."""
        rows, response = self._rows, rollout.response
        while len(self._rewards) < len(compared):  # a reward that earlier files of the step lack
            self._rewards.append(array("d", [np.nan]) * len(self._advantage))
        for values, reward in zip(self._rewards, compared, strict=True):
            values.append(reward)
        self._advantage.append(np.nan if rollout.advantage is None else rollout.advantage)
        rows["group"].append(self._keys.setdefault(key, len(self._keys)))
        rows["prompt"].append(prompt)
        rows["verdict"].append(-1 if success is None else success)
        rows["tokens"].append(-1 if rollout.length is None else rollout.length)
        rows["characters"].append(0 if response is None else len(response))
        rows["truncated"].append(-1 if rollout.truncated is None else rollout.truncated)
        rows["text"].append(NO_TEXT if response is None else hash(response))
        rows["file"].append(rollout.file)
        rows["line"].append(rollout.line)

    @property
    def group(self) -> Ints:
        """int64 [N], the key of each rollout."""
        return np.frombuffer(self._rows["group"], dtype=self._rows["group"].typecode)

    @property
    def advantage(self) -> npt.NDArray[np.float64]:
        """float64 [N], NaN where there is none."""
        return np.frombuffer(self._advantage, dtype=np.float64)

    def is_open(self) -> bool:
        """Return whether only advantages can tell the size of its groups."""
        sure = any(isinstance(key, str) for key in self._keys)
        return not (sure or np.isnan(self.advantage).any()) and may_all_come_several_times(self.group)

    def close(self, has_step: bool, block: int | None, counts: Counter[str]) -> dict[str, Ints]:
        """Return the columns of the groups in order of their first rollouts, but for the step.

        Args:
            block: the size of groups that stand one after the other, where that is known.
        """
        rows = {name: np.frombuffer(values, dtype=values.typecode) for name, values in self._rows.items()}
        if block:
            group = np.arange(len(self.group)) // block
            counts["split"] += int(group[-1]) + 1 - len(self._keys)
        else:
            sure = np.array([isinstance(key, str) for key in self._keys])
            group = in_order(split_visits(self.group, sure, has_step, counts))
        order = np.argsort(group, kind="stable")
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        first, last, prompt = order[starts], order[np.append(starts[1:], len(order)) - 1], rows["prompt"][order]
        several = np.minimum.reduceat(prompt, starts) != np.maximum.reduceat(prompt, starts)
        counts["several_prompts"] += int(several.sum())
        sums = {name: np.bincount(group, weights=values).astype(np.int64) for name, values in {
            "verdicts": rows["verdict"] >= 0,
            "successes": rows["verdict"] == 1,
            "characters": rows["characters"],
            "tokens": np.maximum(rows["tokens"], 0),
            "with_tokens": rows["tokens"] >= 0,
        }.items()}  # fmt: skip
        rewards = [np.frombuffer(values, dtype=np.float64)[order] for values in self._rewards]
        advantage = self.advantage[order]
        return {
            **{name: rows[name][first] for name in ("prompt", "file", "line")},
            "last_line": np.where(rows["file"][last] == rows["file"][first], rows["line"][last], -1),
            "size": np.bincount(group),
            **sums,
            "degenerate": _without_gradient(rewards, advantage, starts),
            "truncated": _sum_where_known(rows["truncated"][order], starts),
            "num_texts": _count_different(group, rows["text"], starts, order),
        }


NO_TEXT = -(2**63)


def _without_gradient(
    rewards: list[npt.NDArray[np.float64]], advantage: npt.NDArray[np.float64], starts: Ints
) -> npt.NDArray[np.bool_]:
    """bool [G]: the advantages of a group are 0 up to rounding; of a group without advantages each reward is equal.

    TRL divides by the rewards' deviation: of equal rewards, which differ by rounding, come advantages that are equal
    and near 0.
    """
    most = np.maximum.reduceat(advantage, starts)  # NaN where one is missing
    zero = _equal(advantage, starts) & (abs(most) < MAX_ZERO)
    return np.where(np.isnan(most), np.all([_equal(values, starts) for values in rewards], axis=0), zero)


def _equal(values: npt.NDArray[np.float64], starts: Ints) -> npt.NDArray[np.bool_]:
    """bool [G]: the values of a group are equal up to rounding, NaN left aside."""
    least, most = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return are_equal(least, most) | np.isnan(most)


def _sum_where_known(values: Ints, starts: Ints) -> Ints:
    return np.where(np.minimum.reduceat(values, starts) < 0, -1, np.add.reduceat(values, starts, dtype=np.int64))


def _count_different(group: Ints, text: Ints, starts: Ints, order: Ints) -> Ints:
    by_text = np.lexsort((text, group))
    new = np.diff(text[by_text], prepend=0) != 0
    new[starts] = True
    count = np.add.reduceat(new.astype(np.int64), starts)
    return np.where((text[order] == NO_TEXT)[starts], -1, count)
