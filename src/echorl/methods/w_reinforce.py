"""W-REINFORCE: the verdict as the advantage, with a small weight for successes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.methods.base import Batch
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


def of_verdicts(batch: Batch, right: float, wrong: float) -> Tensor:
    """Return float [N]: `right` for a success, `wrong` for a failure, 0 without a verdict."""
    signed = torch.where(batch.success, right, wrong)
    return torch.where(batch.scored, signed, 0.0).to(batch.rewards.dtype)


@register_method("w_reinforce")
@dataclass(frozen=True, kw_only=True)
class WReinforce(GRPO):
    """A = +weight for a rollout that is right, -1 for one that is wrong, in every group (arXiv 2506.01347).

    The loss is GRPO's. All-success groups so have a small positive advantage, all-fail groups the full negative one.
    """

    weight: float = option(
        0.1,
        "lambda, the paper's 0.1. 1: plain REINFORCE with rewards of 1 and -1. 0: negative samples alone (NSR); all "
        "other rollouts leave the loss and its denominators, as they leave the batch in the authors' code.",
        ge=0,
    )

    @property
    def leaves_out(self) -> bool:
        return self.weight == 0

    def left_out(self, batch: Batch) -> Tensor:
        failed = batch.scored & ~batch.success
        return ~failed if self.leaves_out else torch.zeros_like(failed)

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        return of_verdicts(batch, self.weight, -1.0)
