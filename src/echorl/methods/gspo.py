"""GSPO: GRPO with the importance ratio of a whole rollout."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("gspo")
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
