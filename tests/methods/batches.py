"""Hand-made scored batches."""

from __future__ import annotations

import torch

from echorl.core.groups import classify_groups
from echorl.methods.base import Batch


def make_batch(rewards: list[float], size: int = 4, success: list[bool] | None = None) -> Batch:
    """Groups of `size`; right is what has a reward of 1, unless `success` says so; NaN: no reward, no verdict."""
    values = torch.tensor(rewards)
    scored = ~values.isnan()
    right = values >= 1.0 if success is None else torch.tensor(success)
    kinds = classify_groups(right & scored, scored, values, torch.arange(len(values)) // size)
    return Batch(rewards=values, success=right & scored, scored=scored, kinds=kinds)


def group_relative(batch: Batch) -> torch.Tensor:
    """GRPO's (r - mean) / (std + 1e-4), as TRL computes it; 0 without a reward."""
    out = torch.zeros_like(batch.rewards)
    for group in batch.groups.unique():
        rows = (batch.groups == group) & ~batch.rewards.isnan()
        own = batch.rewards[rows]
        std = own.std() if len(own) > 1 else torch.tensor(0.0)
        out[rows] = (own - own.mean()) / (std + 1e-4)
    return out
