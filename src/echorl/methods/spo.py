"""A baseline that is tracked for each prompt across its visits, as in SPO."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


def leave_one_out(rollouts: Rollouts) -> Tensor:
    """Return float [N], the mean verdict (1 or 0) of the group's other rollouts; without others the rollout's own."""
    total, count = (
        each[rollouts.groups.index].to(rollouts.rewards) for each in (rollouts.num_success, rollouts.num_verdicts)
    )
    verdict = rollouts.success.to(rollouts.rewards)
    return torch.where(count > 1, (total - verdict) / (count - 1).clamp(min=1), verdict)


@register_method("spo")
@dataclass(frozen=True, kw_only=True)
class SPO(GRPO):
    """A = r - b on GRPO's loss, r the verdict, b = weight v + (1 - weight) (mean of the others) (arXiv 2509.13232).

    v = a / (a + c) is the prompt's success rate on its earlier visits: a and c begin as `before` says, and after each
    visit a <- decay a + successes, c <- decay c + failures. So an all-success group has the advantage 1 - v, an
    all-fail group -v. The prior keeps v between 0 and 1: a prompt that was always right keeps a small advantage.
    """

    addresses = MappingProxyType({"all_success": "A = 1 − v, v the prompt's earlier rate", "all_fail": "A = −v"})
    settings = MappingProxyType({**GRPO.settings, "scale_rewards": "none"})
    trl_hooks = "echorl.trl.methods.spo:TrackedRateHooks"
    needs_verdicts = True

    weight: float = option(1.0, "Weight of the tracked rate; 1: SPO's baseline, 0: leave-one-out (`rloo`).", ge=0, le=1)
    decay: float = option(
        0.9, "Factor of the counts at each visit. The authors let it follow the policy's change.", ge=0, le=1
    )
    prior: float = option(
        0.5,
        "Successes, and as many failures, that a prompt begins with; the authors' 0.5. 0: none, and on a prompt's "
        "first visit b is the mean of the others.",
        ge=0,
    )
    offline: str | None = option(
        None, "Column of the training rows with a list of rewards of rollouts that were sampled before the training."
    )
    offline_weight: float = option(8.0, "Number of rollouts that such a list counts as.", gt=0)

    def against(self, rates: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the advantages [N], 0 without a verdict, given v of each rollout's prompt (float [N], NaN: none)."""
        mean = leave_one_out(rollouts)
        baseline = torch.where(rates.isnan(), mean, self.weight * rates + (1 - self.weight) * mean)
        return (rollouts.success.to(baseline) - baseline) * rollouts.has_verdict

    def before(self, successes: int = 0, failures: int = 0) -> tuple[float, float]:
        """Return (a, c) before a prompt's first visit, given its rollouts from before the training.

        Without any: (prior, prior). Else the prior is added to them, and the sum scaled to `offline_weight` rollouts.

        >>> SPO().before(), SPO(offline_weight=9.0).before(8, 0)
        ((0.5, 0.5), (8.5, 0.5))
        """
        if not successes + failures:
            return self.prior, self.prior
        scale = self.offline_weight / (successes + failures + 2 * self.prior)
        return scale * (successes + self.prior), scale * (failures + self.prior)

    def after(self, counts: tuple[float, float], successes: int, failures: int) -> tuple[float, float]:
        """Return (a, c) after a visit.

        >>> SPO(decay=0.5).after((4.0, 2.0), 3, 1)
        (5.0, 2.0)
        """
        return self.decay * counts[0] + successes, self.decay * counts[1] + failures
