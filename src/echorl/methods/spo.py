"""A baseline that is tracked for each prompt across its visits, as in SPO."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.methods.base import Batch, check_share
from echorl.methods.group_relative import GRPO


def leave_one_out(batch: Batch) -> Tensor:
    """float [N]: the mean verdict (1 or 0) of the group's other rollouts that have one; its own, if it is alone."""
    total, count = (each[batch.groups].to(batch.rewards) for each in batch.counts)
    right = batch.success.to(batch.rewards)
    return torch.where(count > 1, (total - right) / (count - 1).clamp(min=1), right)


@dataclass(frozen=True, kw_only=True)
class SPO(GRPO):
    """A = r - b on GRPO's loss, r the verdict, b = weight v + (1 - weight) (mean of the others) (arXiv 2509.13232).

    v = a / (a + c) is the prompt's success rate on its earlier visits: after each, a <- decay a + successes and
    c <- decay c + failures. So an all-success group has the advantage 1 - v, an all-fail group -v. On a prompt's first
    visit b is the mean of the others.

    Args:
        weight: of the tracked rate; 1: SPO's baseline, 0: leave-one-out (`rloo`).
        decay: of the counts at each visit. The paper lets it follow the policy's KL between visits.

    Raises:
        ValueError: a value is not between 0 and 1.
    """

    settings = MappingProxyType({**GRPO.settings, "scale_rewards": "none"})
    part = "tracked_rate"
    needs_verdicts = True

    weight: float = 1.0
    decay: float = 0.9

    def __post_init__(self) -> None:
        check_share(weight=self.weight, decay=self.decay)

    def against(self, rates: Tensor, batch: Batch) -> Tensor:
        """Advantages [N], 0 without a verdict; `rates` float [N] is v of the rollout's prompt, NaN on a first visit."""
        others = leave_one_out(batch)
        baseline = torch.where(rates.isnan(), others, self.weight * rates + (1 - self.weight) * others)
        return (batch.success.to(baseline) - baseline) * batch.scored

    def after(self, counts: tuple[float, float], successes: int, failures: int) -> tuple[float, float]:
        """(a, c) after a visit.

        >>> SPO(decay=0.5).after((4.0, 2.0), 3, 1)
        (5.0, 2.0)
        """
        return self.decay * counts[0] + successes, self.decay * counts[1] + failures

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        return advantages != 0
