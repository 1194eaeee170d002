"""W-REINFORCE: the verdict as the advantage, with a small weight for successes."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


def verdict_advantages(rollouts: Rollouts, success: float, failure: float) -> Tensor:
    """Return float [N]: `success` or `failure` by the verdict, 0 without one."""
    advantages = torch.where(rollouts.success, success, failure)
    return torch.where(rollouts.has_verdict, advantages, 0.0).to(rollouts.rewards.dtype)


@register_method("w_reinforce")
@dataclass(frozen=True, kw_only=True)
class WReinforce(GRPO):
    """A = +weight for a rollout that is right, -1 for one that is wrong, in every group (arXiv 2506.01347).

    The loss is GRPO's. All-success groups so have a small positive advantage, all-fail groups the full negative one.
    """

    addresses = MappingProxyType({"all_success": "A = weight", "all_fail": "A = −1"})

    weight: float = option(
        0.1,
        "lambda, the paper's 0.1. 1: plain REINFORCE with rewards of 1 and -1. 0: negative samples alone (NSR); all "
        "other rollouts leave the loss and its denominators, as they leave the batch in the authors' code.",
        ge=0,
    )

    @property
    def excludes(self) -> bool:
        return self.weight == 0

    def excluded(self, rollouts: Rollouts) -> Tensor:
        failed = rollouts.has_verdict & ~rollouts.success
        return ~failed if self.excludes else torch.zeros_like(failed)

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        return verdict_advantages(rollouts, self.weight, -1.0)
