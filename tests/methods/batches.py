"""Hand-made scored batches."""

from __future__ import annotations

import torch

from echorl.core.rollouts import Rollouts


def make_batch(rewards: list[float], size: int = 4, success: list[bool] | None = None) -> Rollouts:
    """Groups of `size`; right is what has a reward of 1, unless `success` says so; NaN: no reward, no verdict."""
    values = torch.tensor(rewards)
    return Rollouts.build(
        rewards=values,
        success=values >= 1.0 if success is None else torch.tensor(success),
        has_verdict=~values.isnan(),
        group_ids=torch.arange(len(values)) // size,
        token_ids=torch.zeros(len(values), 1, dtype=torch.int64),
        in_loss=torch.ones(len(values), 1, dtype=torch.bool),
    )


def group_relative(batch: Rollouts, epsilon: float = 1e-4) -> torch.Tensor:
    """GRPO's (r - mean) / (std + epsilon), as TRL computes it; 0 without a reward."""
    out = torch.zeros_like(batch.rewards)
    index = batch.groups.index
    for group in index.unique():
        rows = (index == group) & ~batch.rewards.isnan()
        own = batch.rewards[rows]
        std = own.std() if len(own) > 1 else torch.tensor(0.0)
        out[rows] = (own - own.mean()) / (std + epsilon)
    return out
