"""Dr.GRPO: GRPO without the standard deviation and with a constant length."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("dr_grpo")
@dataclass(frozen=True, kw_only=True)
class DrGRPO(Method):
    """A = r - mean; token sums over a constant length (arXiv 2503.20783)."""

    settings = MappingProxyType({"loss_type": "dr_grpo", "scale_rewards": "none", "epsilon": 0.2})
