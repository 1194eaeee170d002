"""Reinforce-Rej: the verdict as the advantage, without the groups of one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method
from echorl.methods.w_reinforce import verdict_advantages


@register_method("reinforce_rej")
@dataclass(frozen=True, kw_only=True)
class ReinforceRej(GRPO):
    """A = +1 or -1 by the verdict; groups that are all right or all wrong leave the loss (arXiv 2504.11343).

    They leave its denominator too, as in `ExcludeDegenerate`. So do groups without a verdict.
    """

    addresses = MappingProxyType(
        {"all_success": "is excluded from loss, denominator, KL", "all_fail": "is excluded from loss, denominator, KL"}
    )

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        return verdict_advantages(rollouts, 1.0, -1.0)

    def excluded(self, rollouts: Rollouts) -> Tensor:
        return ~rollouts.of_kind("mixed", "uniform_reward")
