"""CISPO: REINFORCE with clipped importance ratios."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("cispo")
@dataclass(frozen=True, kw_only=True)
class CISPO(Method):
    """REINFORCE with detached ratios, clipped from above (MiniMax-M1, arXiv 2506.13585)."""

    settings = MappingProxyType({"loss_type": "cispo", "scale_rewards": "group", "epsilon_high": 5.0})
