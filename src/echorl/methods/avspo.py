"""AVSPO: virtual rewards in the statistics of collapsed groups, as many as the collapse rate asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.methods.base import Batch, check_not_negative, check_number, check_share
from echorl.methods.group_relative import EPSILON, GRPO

ROUNDING = 1e-9
"""Of a product of whole numbers and a share, far below what one rollout changes."""


def count_collapsed(batch: Batch) -> tuple[int, int]:
    """Groups whose rewards are all equal, and groups that have a reward; the collapse rate ACR is their ratio."""
    judged = torch.zeros_like(batch.kinds.kind).scatter_add_(0, batch.groups, (~batch.rewards.isnan()).long()) > 0
    return int((batch.kinds.degenerate & judged).sum()), int(judged.sum())


@dataclass(frozen=True, kw_only=True)
class AVSPO(GRPO):
    """GRPO; where all rewards of a group are equal, A = (r - mean) / (std + eps) with virtual rewards in mean and std.

    (arXiv 2605.21125, by notes.) ceil(ACR G alpha) of them, ACR the share of such groups among those that have a
    reward, G the group's size; so a group that is all right has a small positive advantage, one that is all wrong a
    negative one. They lie evenly between `low` and `high`, ends excluded. With one, its value does not matter:
    A = +-1 / sqrt(G + 1). The std is a group's, so `scale_rewards` must be "group".

    Args:
        alpha: virtual rewards a rollout at a collapse rate of 1; 0: GRPO.
        threshold: none at or below this collapse rate. The paper moves it while training stagnates; here it stays.
        low, high: between which they lie.

    Raises:
        ValueError: a value is out of range.
    """

    fixed = ("scale_rewards",)

    alpha: float = 0.25
    threshold: float = 0.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative(alpha=self.alpha)
        check_share(threshold=self.threshold)
        check_number(low=self.low, high=self.high)
        if not self.low < self.high:
            raise ValueError(f"low={self.low} and high={self.high} are not allowed: low < high.")

    def num_virtual(self, collapsed: int, groups: int, group_size: int) -> int:
        """How many virtual rewards a collapsed group gets, where `collapsed` of `groups` are.

        >>> [AVSPO().num_virtual(collapsed, 4, 8) for collapsed in (0, 1, 2, 4)]
        [0, 1, 1, 2]
        """
        if collapsed <= self.threshold * groups + ROUNDING:
            return 0
        return math.ceil(collapsed * group_size * self.alpha / groups - ROUNDING)

    def _count(self, batch: Batch) -> int:
        """`num_virtual` of this batch."""
        return self.num_virtual(*count_collapsed(batch), len(batch.rewards) // max(1, len(batch.kinds.kind)))

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        count = self._count(batch)
        collapsed = batch.degenerate & ~batch.rewards.isnan()
        if not count or not bool(collapsed.any()):
            return advantages
        return torch.where(collapsed, self._of_equal(batch.rewards, count, batch), advantages.to(batch.rewards))

    def _of_equal(self, rewards: Tensor, count: int, batch: Batch) -> Tensor:
        """Advantage of a reward that all n of its group have, and `count` virtual ones beside them."""
        there = (~rewards.isnan()).to(rewards)
        n = torch.zeros_like(batch.kinds.kind, dtype=rewards.dtype).scatter_add_(0, batch.groups, there)[batch.groups]
        places = torch.arange(1, count + 1, device=rewards.device, dtype=rewards.dtype) / (count + 1)
        virtual = self.low + (self.high - self.low) * places
        mean = (n * rewards + virtual.sum()) / (n + count)
        squares = n * (rewards - mean) ** 2 + ((virtual - mean.unsqueeze(1)) ** 2).sum(1)
        return (rewards - mean) / ((squares / (n + count - 1)).sqrt() + EPSILON)

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        return super().informative(advantages, batch) | ((advantages != 0) & (self._count(batch) > 0))
