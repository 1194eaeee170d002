"""Positive-example NLL: every success is learned as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("positive_nll")
@dataclass(frozen=True, kw_only=True)
class PositiveNLL(GRPO):
    """GRPO + echo_coef x the mean over all successes of their mean token NLL: no selection, the whole rollout (RFT).

    VAPO's "positive example LM loss" (arXiv 2504.05118) has one mean over all their tokens. It is EchoRL's own term,
    with every success as its clip: so `echo_coef` is its weight (VAPO's 0.1), and no other clips are mined beside it.
    """

    addresses = MappingProxyType({"all_success": "NLL of all rollouts"})
    settings = MappingProxyType(
        {
            **GRPO.settings,
            "echo_coef": 0.1,
            "echo_select": "full",
            "echo_clip_per": "rollout",
            "echo_average_over": "clip",
        }
    )
