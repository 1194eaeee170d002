"""80/20: the policy gradient of the most uncertain tokens alone."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("top_entropy")
@dataclass(frozen=True, kw_only=True)
class TopEntropy(GRPO):
    """GRPO whose policy gradient is that of the fifth of the tokens with the largest entropy (80/20, arXiv 2506.01939).

    The quantile is TRL's `top_entropy_quantile`, of the tokens of a micro-batch on all processes; the denominators
    count all tokens. The paper builds on DAPO.
    """

    settings = MappingProxyType({**GRPO.settings, "top_entropy_quantile": 0.2})
