"""Reinforce-Ada: a prompt is sampled in rounds until enough of its rollouts are right and enough are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.methods.base import check_whole
from echorl.methods.group_relative import GRPO

EPSILON = 1e-4
"""What TRL adds to the standard deviation."""


@dataclass(frozen=True, kw_only=True)
class ReinforceAda(GRPO):
    """GRPO on G of a prompt's pool, half of them right and half wrong, with the pool's mean and std (arXiv 2510.04996).

    A round samples G rollouts of every prompt that does not have G/2 of both in its pool yet. What is short of one half
    is filled up with the other, the earliest first.

    Args:
        max_rounds: at most so many rounds, the first included; 1: GRPO.

    Raises:
        ValueError: it is no whole number of at least 1.
    """

    part = "reinforce_ada"
    needs_verdicts = True

    max_rounds: int = 4

    def __post_init__(self) -> None:
        check_whole(1, max_rounds=self.max_rounds)


def unfinished(success: Tensor, owner: Tensor, size: int) -> list[int]:
    """The prompts whose pool has fewer than size // 2 successes, or than that of others.

    `success` bool [M] and `owner` int64 [M], the prompt's number, are of all rollouts so far.

    >>> unfinished(torch.tensor([True, True, False, True]), torch.tensor([0, 1, 0, 1]), 2)
    [1]
    """
    right, wrong = _counts(success, owner)
    return (torch.minimum(right, wrong) < size // 2).nonzero().flatten().tolist()


def choose(success: Tensor, owner: Tensor, size: int) -> Tensor:
    """bool [M]: `size` rollouts of every prompt, balanced as far as its pool is; the earliest of both."""
    right, wrong = _counts(success, owner)
    take_right = torch.minimum(right, torch.maximum(size - wrong, torch.full_like(wrong, size - size // 2)))
    mine = owner.unsqueeze(1) == torch.arange(len(right), device=owner.device)
    rank_right = (mine & success.unsqueeze(1)).cumsum(0).gather(1, owner.unsqueeze(1)).squeeze(1)
    rank_wrong = (mine & ~success.unsqueeze(1)).cumsum(0).gather(1, owner.unsqueeze(1)).squeeze(1)
    return torch.where(success, rank_right <= take_right[owner], rank_wrong <= (size - take_right)[owner])


def pool_advantages(rewards: Tensor, owner: Tensor, *, scale: bool) -> Tensor:
    """[M]: (r - mean) / (std + eps), or r - mean, of each prompt's pool; 0 without a reward, and where all agree."""
    there = ~rewards.isnan()
    num = int(owner.max()) + 1
    count = _sum(there.to(rewards), owner, num)
    mean = _sum(rewards.nan_to_num(0.0), owner, num) / count.clamp(min=1)
    centred = (rewards - mean[owner]).nan_to_num(0.0)
    std = (_sum(centred**2, owner, num) / (count - 1).clamp(min=1)).sqrt()
    centred = centred * (std > 1e-6)[owner]
    return centred / (std[owner] + EPSILON) if scale else centred


def _counts(success: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    num = int(owner.max()) + 1
    return _sum(success.long(), owner, num), _sum((~success).long(), owner, num)


def _sum(values: Tensor, owner: Tensor, num: int) -> Tensor:
    return torch.zeros(num, dtype=values.dtype, device=values.device).scatter_add_(0, owner, values)
