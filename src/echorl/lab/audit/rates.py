"""Histogram of the groups' success rates."""

from __future__ import annotations

from typing import Any

import numpy as np

from echorl.lab.audit.groups import GroupTable


def count_successes(groups: GroupTable, size: int) -> list[int]:
    """Return the number of groups of `size` verdicts with 0, 1, ... `size` successes."""
    rows = groups[groups.verdicts == size]
    return np.bincount(rows.successes, minlength=size + 1).tolist()


def usual_size(groups: GroupTable) -> int:
    """Return the number of verdicts that most groups have; 0 where no group has one."""
    counts: Any = np.bincount(groups.verdicts)
    counts[0] = 0
    return int(counts.argmax()) if counts.any() else 0
