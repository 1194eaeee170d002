"""Methods that differ from GRPO in advantage, clipping or normalisation alone, which TRL has."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.methods.base import Batch, Method

EPSILON = 1e-4
"""What TRL adds to the standard deviation."""


@dataclass(frozen=True, kw_only=True)
class GRPO(Method):
    """A = (r - mean) / (std + eps); each rollout's mean over tokens, mean over rollouts (arXiv 2402.03300).

    The paper's KL term is the trainer's `beta`, left at 0 as in later work.
    """

    settings = MappingProxyType({"loss_type": "grpo", "scale_rewards": "group", "epsilon": 0.2})


@dataclass(frozen=True, kw_only=True)
class DrGRPO(Method):
    """A = r - mean; token sums over a constant length (arXiv 2503.20783)."""

    settings = MappingProxyType({"loss_type": "dr_grpo", "scale_rewards": "none", "epsilon": 0.2})


@dataclass(frozen=True, kw_only=True)
class GSPO(Method):
    """GRPO with one importance ratio a rollout, the geometric mean of its tokens' (arXiv 2507.18071)."""

    settings = MappingProxyType(
        {
            "loss_type": "grpo",
            "scale_rewards": "group",
            "importance_sampling_level": "sequence",
            "epsilon": 3e-4,
            "epsilon_high": 4e-4,
        }
    )


@dataclass(frozen=True, kw_only=True)
class CISPO(Method):
    """REINFORCE with detached ratios, clipped from above (MiniMax-M1, arXiv 2506.13585)."""

    settings = MappingProxyType({"loss_type": "cispo", "scale_rewards": "group", "epsilon_high": 5.0})


@dataclass(frozen=True, kw_only=True)
class RLOO(Method):
    """A_i = r_i - mean of the other rewards of its group (arXiv 2402.14740) = G/(G-1) (r_i - mean), on GRPO's loss.

    TRL's RLOOTrainer is a class of its own, with the KL in the reward; this is its advantage.
    """

    settings = MappingProxyType({"loss_type": "grpo", "scale_rewards": "none", "epsilon": 0.2})

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        """G counts the rollouts that have a reward; a group of one keeps its advantage of 0."""
        there = (~batch.rewards.isnan()).to(advantages.dtype)
        size = torch.zeros_like(batch.kinds.kind, dtype=there.dtype).scatter_add_(0, batch.groups, there)
        return advantages * (size / (size - 1).clamp(min=1))[batch.groups]
