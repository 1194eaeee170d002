"""AGPO, first form: a constant advantage for groups of one verdict."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.methods.base import Batch, check_not_negative
from echorl.methods.group_relative import GRPO


@dataclass(frozen=True, kw_only=True)
class AGPO(GRPO):
    """GRPO; A = +right where a whole group is right, -wrong where all of it is wrong (arXiv 2503.15952, by notes).

    Of groups with equal rewards only: where shaped rewards differ, GRPO's advantage stands. As GRPO's has a standard
    deviation of 1, so these weigh as much as any other.

    Args:
        right, wrong: the paper's 1 and 1; 0 and 0: GRPO.

    Raises:
        ValueError: one of them is negative.
    """

    right: float = 1.0
    wrong: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative(right=self.right, wrong=self.wrong)

    @property
    def needs_verdicts(self) -> bool:  # type: ignore[override]
        return self.right > 0 or self.wrong > 0

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        all_right = batch.degenerate & batch.of_kind("all_success") & batch.scored
        all_wrong = batch.degenerate & batch.of_kind("all_fail") & batch.scored
        return torch.where(all_right, self.right, torch.where(all_wrong, -self.wrong, advantages)).to(advantages.dtype)

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        own = batch.of_kind("all_success", "all_fail") & (advantages != 0)
        return super().informative(advantages, batch) | own
