"""Rivals that are configuration: a name for settings that the trainer and EchoRL have."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.group_relative import GRPO


@dataclass(frozen=True, kw_only=True)
class PositiveNLL(GRPO):
    """GRPO + echo_coef x the mean over all successes of their mean token NLL: no selection, the whole rollout (RFT).

    VAPO's "positive example LM loss" (arXiv 2504.05118) has one mean over all their tokens. It is EchoRL's own term,
    with every success as its clip: so `echo_coef` is its weight (VAPO's 0.1), and no other clips are mined beside it.
    """

    settings = MappingProxyType(
        {
            **GRPO.settings,
            "echo_coef": 0.1,
            "echo_select": "full",
            "echo_clip_per": "rollout",
            "echo_average_over": "clip",
        }
    )


@dataclass(frozen=True, kw_only=True)
class TopEntropy(GRPO):
    """GRPO whose policy gradient is that of the fifth of the tokens with the largest entropy (80/20, arXiv 2506.01939).

    The quantile is TRL's `top_entropy_quantile`, of the tokens of a micro-batch on all processes; the denominators
    count all tokens. The paper builds on DAPO.
    """

    settings = MappingProxyType({**GRPO.settings, "top_entropy_quantile": 0.2})
