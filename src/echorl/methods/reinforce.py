"""REINFORCE on the verdict, without the group's statistics: W-REINFORCE and Reinforce-Rej."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.methods.base import Batch, check_not_negative
from echorl.methods.group_relative import GRPO


def of_verdicts(batch: Batch, right: float, wrong: float) -> Tensor:
    """float [N]: `right` for a success, `wrong` for a failure, 0 without a verdict."""
    signed = torch.where(batch.success, right, wrong)
    return torch.where(batch.scored, signed, 0.0).to(batch.rewards.dtype)


@dataclass(frozen=True, kw_only=True)
class WReinforce(GRPO):
    """A = +weight for a rollout that is right, -1 for one that is wrong, in every group (arXiv 2506.01347).

    The loss is GRPO's. All-success groups so have a small positive advantage, all-fail groups the full negative one.

    Args:
        weight: lambda, the paper's 0.1. 1: plain REINFORCE with rewards of 1 and -1. 0: negative samples alone (NSR);
            all other rollouts leave the loss and its denominators, as they leave the batch in the authors' code.

    Raises:
        ValueError: the weight is negative.
    """

    needs_verdicts = True

    weight: float = 0.1

    def __post_init__(self) -> None:
        check_not_negative(weight=self.weight)

    @property
    def leaves_out(self) -> bool:
        return self.weight == 0

    def left_out(self, batch: Batch) -> Tensor:
        failed = batch.scored & ~batch.success
        return ~failed if self.leaves_out else torch.zeros_like(failed)

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        return of_verdicts(batch, self.weight, -1.0)

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        return advantages != 0


@dataclass(frozen=True, kw_only=True)
class ReinforceRej(GRPO):
    """A = +1 or -1 by the verdict; groups that are all right or all wrong leave the loss (arXiv 2504.11343, by notes).

    They leave its denominator too, as in `ExcludeDegenerate`. So do groups without a verdict.
    """

    needs_verdicts = True

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        return of_verdicts(batch, 1.0, -1.0)

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        return (advantages != 0) & ~self.left_out(batch)

    def left_out(self, batch: Batch) -> Tensor:
        return ~batch.of_kind("mixed", "uniform_reward")
