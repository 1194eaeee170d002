"""A baseline that is tracked for each prompt across its visits, as in SPO."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.methods.base import Batch, check_not_negative, check_positive, check_share
from echorl.methods.group_relative import GRPO


def leave_one_out(batch: Batch) -> Tensor:
    """float [N]: the mean verdict (1 or 0) of the group's other rollouts that have one; its own, if it is alone."""
    total, count = (each[batch.groups].to(batch.rewards) for each in batch.counts)
    right = batch.success.to(batch.rewards)
    return torch.where(count > 1, (total - right) / (count - 1).clamp(min=1), right)


@dataclass(frozen=True, kw_only=True)
class SPO(GRPO):
    """A = r - b on GRPO's loss, r the verdict, b = weight v + (1 - weight) (mean of the others) (arXiv 2509.13232).

    v = a / (a + c) is the prompt's success rate on its earlier visits: a and c begin as `before` says, and after each
    visit a <- decay a + successes, c <- decay c + failures. So an all-success group has the advantage 1 - v, an
    all-fail group -v. The prior keeps v between 0 and 1: a prompt that was always right keeps a small advantage.

    Args:
        weight: of the tracked rate; 1: SPO's baseline, 0: leave-one-out (`rloo`).
        decay: of the counts at each visit. The authors let it follow the policy's change between visits.
        prior: successes, and as many failures, that a prompt begins with; the authors' 0.5. 0: none, and on a prompt's
            first visit b is the mean of the others.
        offline: column of the training rows with a list of rewards of rollouts that were sampled before the training.
        offline_weight: number of rollouts that such a list counts as.

    Raises:
        ValueError: a value is out of range.
    """

    settings = MappingProxyType({**GRPO.settings, "scale_rewards": "none"})
    part = "tracked_rate"
    needs_verdicts = True

    weight: float = 1.0
    decay: float = 0.9
    prior: float = 0.5
    offline: str | None = None
    offline_weight: float = 8.0

    def __post_init__(self) -> None:
        check_share(weight=self.weight, decay=self.decay)
        check_not_negative(prior=self.prior)
        check_positive(offline_weight=self.offline_weight)
        if self.offline is not None and not (isinstance(self.offline, str) and self.offline):
            raise ValueError(f"offline={self.offline!r} is not allowed: it must be the name of a column.")

    def against(self, rates: Tensor, batch: Batch) -> Tensor:
        """Advantages [N], 0 without a verdict; `rates` float [N] is v of the rollout's prompt, NaN where none is."""
        others = leave_one_out(batch)
        baseline = torch.where(rates.isnan(), others, self.weight * rates + (1 - self.weight) * others)
        return (batch.success.to(baseline) - baseline) * batch.scored

    def before(self, successes: int = 0, failures: int = 0) -> tuple[float, float]:
        """(a, c) before a prompt's first visit, given its rollouts from before the training.

        Without any: (prior, prior). Else the prior is added to them, and the sum scaled to `offline_weight` rollouts.

        >>> SPO().before(), SPO(offline_weight=9.0).before(8, 0)
        ((0.5, 0.5), (8.5, 0.5))
        """
        if not successes + failures:
            return self.prior, self.prior
        scale = self.offline_weight / (successes + failures + 2 * self.prior)
        return scale * (successes + self.prior), scale * (failures + self.prior)

    def after(self, counts: tuple[float, float], successes: int, failures: int) -> tuple[float, float]:
        """(a, c) after a visit.

        >>> SPO(decay=0.5).after((4.0, 2.0), 3, 1)
        (5.0, 2.0)
        """
        return self.decay * counts[0] + successes, self.decay * counts[1] + failures

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        return advantages != 0
