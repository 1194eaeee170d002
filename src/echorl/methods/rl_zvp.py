"""RL-ZVP: on groups of equal rewards, advantages of the tokens from their entropies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.methods.base import Batch, check_not_negative
from echorl.methods.group_relative import GRPO


@dataclass(frozen=True, kw_only=True)
class RLZVP(GRPO):
    """GRPO; where all rollouts are right A_t = alpha H_t, where all are wrong A_t = -alpha (max_k H_k - H_t).

    (arXiv 2509.21880, by notes.) H in nats, at the sampling temperature; the maximum is over the rollout's own tokens.
    So an uncertain token gains most in a success and loses nothing in a failure. Groups whose rewards differ, and those
    whose equal rewards are no verdict, keep GRPO's advantage.

    Args:
        alpha: the paper's 0.1, of 0.05 to 0.2; 0: GRPO.

    Raises:
        ValueError: alpha is negative.
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        check_not_negative(alpha=self.alpha)

    @property
    def needs_verdicts(self) -> bool:  # type: ignore[override]
        return self.alpha > 0

    @property
    def needs_entropy(self) -> bool:
        return self.alpha > 0

    def entropy_rows(self, batch: Batch) -> Tensor:
        """Rollouts with a verdict, of groups whose rewards are equal and whose verdicts are."""
        return batch.degenerate & batch.scored & batch.of_kind("all_success", "all_fail") & (self.alpha > 0)

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        return super().informative(advantages, batch) | self.entropy_rows(batch)

    def token_advantages(self, advantages: Tensor, entropy: Tensor, mask: Tensor, batch: Batch) -> Tensor:
        """A token of unknown entropy has an advantage of 0 in these groups."""
        known = mask & entropy.isfinite()
        entropy = entropy.float().masked_fill(~known, 0.0)
        most = entropy.amax(1, keepdim=True)
        shaped = self.alpha * torch.where(batch.success.unsqueeze(1), entropy, entropy - most)
        own = self.entropy_rows(batch).unsqueeze(1)
        return torch.where(own, (shaped * known).to(advantages), advantages.unsqueeze(1))
