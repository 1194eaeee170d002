"""The optimiser steps once enough groups with a policy gradient have come in, and no group is thrown away."""

from __future__ import annotations

from dataclasses import dataclass

from echorl.methods.base import check_whole
from echorl.methods.group_relative import GRPO


@dataclass(frozen=True, kw_only=True)
class HoldStep(GRPO):
    """GRPO whose optimiser steps are held until `groups` groups of unequal rewards are in the gradient.

    The gradient is then the mean over the held ones: that of one batch as large as all of theirs, degenerate groups
    included, but for `max_grad_norm`, which clips each by itself. It is what dynamic sampling gains in quieter steps,
    without its further rounds. There is no paper.

    Args:
        groups: to wait for; 0: GRPO.
        max_held: at most so many steps are held in a row.

    Raises:
        ValueError: a value is out of range.
    """

    part = "hold_step"

    groups: int = 16
    max_held: int = 16

    def __post_init__(self) -> None:
        check_whole(0, groups=self.groups, max_held=self.max_held)
