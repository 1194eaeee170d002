"""AGPO, first form: a constant advantage for groups of one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("agpo")
@dataclass(frozen=True, kw_only=True)
class AGPO(GRPO):
    """GRPO; A = +right where a whole group is right, -wrong where all of it is wrong (arXiv 2503.15952).

    Groups with equal rewards only: where shaped rewards differ, GRPO's advantage stands. As GRPO's has a standard
    deviation of 1, so these weigh as much as any other. With 0 and 0 it is GRPO.
    """

    addresses = MappingProxyType({"all_success": "A = +1", "all_fail": "A = −1"})

    right: float = option(1.0, "Advantage of a rollout in an all-success group; the paper's 1.", ge=0)
    wrong: float = option(1.0, "Minus the advantage of a rollout in an all-fail group; the paper's 1.", ge=0)

    @property
    def needs_verdicts(self) -> bool:
        return self.right > 0 or self.wrong > 0

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        changed = torch.where(rollouts.all_success, self.right, torch.where(rollouts.all_fail, -self.wrong, advantages))
        return torch.where(rollouts.degenerate, changed, advantages).to(advantages.dtype)
