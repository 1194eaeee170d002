"""AVSPO: virtual rewards in the statistics of collapsed groups, as many as the collapse rate asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.core.ledger import GroupKinds
from echorl.methods.base import Batch, check_not_negative, check_number, check_share
from echorl.methods.group_relative import EPSILON, GRPO


def collapse_rate(kinds: GroupKinds) -> float:
    """ACR = the share of groups whose rewards are all equal; 0 where there is no group."""
    return float(kinds.degenerate.float().mean()) if kinds.degenerate.numel() else 0.0


@dataclass(frozen=True, kw_only=True)
class AVSPO(GRPO):
    """GRPO; where all rewards of a group are equal, A = (r - mean) / (std + eps) with virtual rewards in mean and std.

    (arXiv 2605.21125, by notes.) ceil(ACR G alpha) of them, ACR the share of such groups in the batch, G the group's
    size; so a group that is all right has a small positive advantage, one that is all wrong a negative one. They lie
    evenly between `low` and `high`, ends excluded. With one, its value does not matter: A = +-1 / sqrt(G + 1). The
    std is a group's, so `scale_rewards` must be "group".

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

    def num_virtual(self, rate: float, group_size: int) -> int:
        """How many virtual rewards a collapsed group gets at this collapse rate.

        >>> [AVSPO().num_virtual(rate, 8) for rate in (0.0, 0.25, 0.5, 1.0)]
        [0, 1, 1, 2]
        """
        return math.ceil(rate * group_size * self.alpha) if rate > self.threshold else 0

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        size = len(batch.rewards) // max(1, len(batch.kinds.kind))
        count = self.num_virtual(collapse_rate(batch.kinds), size)
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
        virtual = self.num_virtual(collapse_rate(batch.kinds), len(advantages) // max(1, len(batch.kinds.kind)))
        return super().informative(advantages, batch) | ((advantages != 0) & (virtual > 0))
