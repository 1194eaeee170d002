"""GRPO: the group-relative advantage, and the method that most others here change in one thing."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.base import Method
from echorl.methods.registry import register_method

EPSILON = 1e-4
"""The number that TRL adds to the standard deviation."""


@register_method("grpo")
@dataclass(frozen=True, kw_only=True)
class GRPO(Method):
    """A = (r - mean) / (std + eps); each rollout's mean over tokens, mean over rollouts (arXiv 2402.03300).

    The paper's KL term is the trainer's `beta`, left at 0 as in later work.
    """

    settings = MappingProxyType({"loss_type": "grpo", "scale_rewards": "group", "epsilon": 0.2})
