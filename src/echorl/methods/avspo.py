"""AVSPO: virtual rewards in the statistics of collapsed groups, as many as the collapse rate asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import EPSILON, GRPO
from echorl.methods.registry import register_method

ROUNDING = 1e-9
"""Rounding error of a product of whole numbers and a share, far below the change that one rollout makes."""


def count_collapsed(rollouts: Rollouts) -> tuple[int, int]:
    """Return the numbers of groups whose rewards are all equal, and of groups that have a reward.

    The collapse rate ACR is their ratio.
    """
    rewarded = rollouts.groups.sum(~rollouts.rewards.isnan()) > 0
    return int((rollouts.groups.degenerate & rewarded).sum()), int(rewarded.sum())


@register_method("avspo")
@dataclass(frozen=True, kw_only=True)
class AVSPO(GRPO):
    """GRPO; where all rewards of a group are equal, A = (r - mean) / (std + eps) with virtual rewards in mean and std.

    (arXiv 2605.21125.) ceil(ACR G alpha) of them, ACR the share of such groups among those that have a reward, G the
    group's size; so a group that is all right has a small positive advantage, one that is all wrong a negative one.
    They lie evenly between 0 and 1, ends excluded. With one, its value does not matter: A = +-1 / sqrt(G + 1). The std
    is a group's, so `scale_rewards` must be "group".
    """

    addresses = MappingProxyType(
        {
            "all_success": "A > 0: at G = 8 0.33, or 0.44 if more than half of the groups have equal rewards",
            "all_fail": "A < 0",
        }
    )
    fixed = ("scale_rewards",)
    needs_verdicts = False

    alpha: float = option(0.25, "Virtual rewards a rollout at a collapse rate of 1; 0: GRPO.", ge=0)
    threshold: float = option(
        0.0,
        "No virtual reward at or below this collapse rate. The paper moves it while training stagnates; here it stays.",
        ge=0,
        le=1,
    )

    def num_virtual(self, collapsed: int, groups: int, group_size: int) -> int:
        """Return the number of virtual rewards of a collapsed group, where `collapsed` of `groups` are.

        >>> [AVSPO().num_virtual(collapsed, 4, 8) for collapsed in (0, 1, 2, 4)]
        [0, 1, 1, 2]
        """
        if collapsed <= self.threshold * groups + ROUNDING:
            return 0
        return math.ceil(collapsed * group_size * self.alpha / groups - ROUNDING)

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        group_size = len(rollouts.rewards) // max(1, len(rollouts.groups))
        count = self.num_virtual(*count_collapsed(rollouts), group_size)
        collapsed = rollouts.degenerate & ~rollouts.rewards.isnan()
        if not count or not bool(collapsed.any()):
            return advantages
        virtual = torch.arange(1, count + 1).to(rollouts.rewards) / (count + 1)
        return torch.where(collapsed, lengthened_advantages(rollouts, virtual), advantages.to(rollouts.rewards))


def lengthened_advantages(rollouts: Rollouts, virtual: Tensor) -> Tensor:
    """Return [N], the advantage of a reward that all n of its group have, with virtual rewards in mean and std.

    `virtual` is [V], or [N, V] with NaN where a rollout's group has fewer.
    """
    rewards, present = rollouts.rewards, ~virtual.isnan()
    n = rollouts.groups.sum((~rewards.isnan()).to(rewards))[rollouts.groups.index]
    count = present.sum(-1)
    mean = (n * rewards + virtual.nansum(-1)) / (n + count)
    squares = n * (rewards - mean) ** 2 + ((virtual - mean.unsqueeze(1)) ** 2).nansum(1)
    return (rewards - mean) / ((squares / (n + count - 1)).sqrt() + EPSILON)
