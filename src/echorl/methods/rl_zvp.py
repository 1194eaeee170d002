"""RL-ZVP: on groups of equal rewards, advantages of the tokens from their entropies."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("rl_zvp")
@dataclass(frozen=True, kw_only=True)
class RLZVP(GRPO):
    """GRPO; where all rollouts are right A_t = alpha H_t, where all are wrong A_t = -alpha (max_k H_k - H_t).

    (arXiv 2509.21880.) H in nats, at the sampling temperature; the maximum is over the rollout's own tokens. So an
    uncertain token gains most in a success and loses nothing in a failure. Groups whose rewards differ, and those whose
    equal rewards are no verdict, keep GRPO's advantage.
    """

    addresses = MappingProxyType({"all_success": "A_t = αH_t", "all_fail": "A_t = −α(max H − H_t)"})

    alpha: float = option(0.1, "The paper's 0.1, of 0.05 to 0.2; 0: GRPO.", ge=0)

    @property
    def needs_verdicts(self) -> bool:
        return self.alpha > 0

    @property
    def changes_tokens(self) -> bool:
        return self.alpha > 0

    def entropy_rows(self, rollouts: Rollouts) -> Tensor:
        """Return the rollouts with a verdict, of groups whose rewards are equal and whose verdicts are."""
        return rollouts.degenerate & (rollouts.all_success | rollouts.all_fail) & (self.alpha > 0)

    def token_advantages(self, advantages: Tensor, entropy: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the advantages [B, T]; in these groups 0 for a token without an entropy."""
        has_entropy = rollouts.in_loss & entropy.isfinite()
        entropy = entropy.float().masked_fill(~has_entropy, 0.0)
        largest = entropy.amax(1, keepdim=True)
        shaped = self.alpha * torch.where(rollouts.success[rollouts.local].unsqueeze(1), entropy, entropy - largest)
        rows = self.entropy_rows(rollouts)[rollouts.local].unsqueeze(1)
        return torch.where(rows, (shaped * has_entropy).to(advantages), advantages.unsqueeze(1))
