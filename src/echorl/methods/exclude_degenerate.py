"""GRPO without its degenerate rollouts: the control that any gain on solved prompts must beat first."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("exclude_degenerate")
@dataclass(frozen=True, kw_only=True)
class ExcludeDegenerate(GRPO):
    """GRPO whose groups of equal rewards leave the loss's denominator, the KL and the entropy bonus (TRL issue 6367).

    They have no policy gradient, but in a mean over rows or tokens they make that of the other groups smaller, by their
    share of the batch. A batch of such groups alone has an empty loss.
    """

    addresses = MappingProxyType(
        {
            "all_success": "is excluded from loss, denominator, KL",
            "all_fail": "is excluded from loss, denominator, KL",
            "uniform_reward": "is excluded from loss, denominator, KL",
        }
    )
    needs_verdicts = False

    def excluded(self, rollouts: Rollouts) -> Tensor:
        return rollouts.degenerate
