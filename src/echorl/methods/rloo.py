"""RLOO: the mean of a group's other rewards as the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("rloo")
@dataclass(frozen=True, kw_only=True)
class RLOO(Method):
    """A_i = r_i - mean of the other rewards of its group (arXiv 2402.14740) = G/(G-1) (r_i - mean), on GRPO's loss.

    TRL's RLOOTrainer is a class of its own, with the KL in the reward; this is its advantage.
    """

    settings = MappingProxyType({"loss_type": "grpo", "scale_rewards": "none", "epsilon": 0.2})
    needs_verdicts = False

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """G counts the rollouts that have a reward; a group of one keeps its advantage of 0."""
        rewarded = (~rollouts.rewards.isnan()).to(advantages.dtype)
        size = rollouts.groups.sum(rewarded)
        return advantages * (size / (size - 1).clamp(min=1))[rollouts.groups.index]
