"""The groups of a log as columns of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from echorl.core.statistics import kind_of

Unit = Literal["tokens", "characters"]


@dataclass(frozen=True, eq=False, kw_only=True)
class GroupTable:
    """N groups in the log's order. A group is what the trainer compared: the rollouts of one prompt in one step.

    Attributes:
        step: int64 [N], the step as the log numbers it; -1 where it has none.
        prompt: int64 [N], the number of the prompt: equal wherever a prompt recurs.
        size: int64 [N], rollouts.
        verdicts: int64 [N], rollouts with a verdict of the verifier.
        successes: int64 [N], rollouts that the verifier accepted.
        degenerate: bool [N], true where all rollouts have the same reward, so that the group gives no gradient.
        length: int64 [N], what all responses of the group have together, in `unit`.
        truncated: int64 [N], rollouts that ended at the limit of length; -1 where the log does not tell.
        num_texts: int64 [N], different responses; -1 where the log has no text.
        file, line: int64 [N], the group's first rollout: the file's place among those read, and the line from 1.
        last_line: int64 [N], the line of the group's last rollout; -1 where that is in another file.
        unit: of `length`: tokens, or characters where the log has no number of tokens.
    """

    step: npt.NDArray[np.int64]
    prompt: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    verdicts: npt.NDArray[np.int64]
    successes: npt.NDArray[np.int64]
    degenerate: npt.NDArray[np.bool_]
    length: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.int64]
    num_texts: npt.NDArray[np.int64]
    file: npt.NDArray[np.int64]
    line: npt.NDArray[np.int64]
    last_line: npt.NDArray[np.int64]
    unit: Unit

    def __len__(self) -> int:
        return len(self.size)

    def __getitem__(self, rows: npt.NDArray[Any] | slice | Sequence[int]) -> GroupTable:
        """Return some groups: by a slice, a mask or numbers."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    @property
    def kind(self) -> npt.NDArray[np.int64]:
        """int64 [N], each group's place in `core.statistics.KINDS`, as the trainers sort them."""
        return kind_of(self.successes, self.verdicts, self.degenerate)


_COLUMNS = tuple(each.name for each in fields(GroupTable) if each.name != "unit")
