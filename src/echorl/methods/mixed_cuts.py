"""Mixed-CUTS: half of each group is sampled uniformly from the most probable tokens."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


def uniform_candidates(logits: Tensor, top_k: int, min_probability: float) -> Tensor:
    """Return logits [B, V] of the uniform distribution over each row's candidates: 0 there, -inf elsewhere.

    Candidates are the `top_k` most probable tokens, without those of a probability below `min_probability`; where that
    leaves none, all `top_k`. A token of probability 0 is never one.
    """
    probability, index = logits.float().softmax(-1).topk(min(top_k, logits.shape[-1]))
    candidate = probability >= min_probability
    candidate = (candidate | ~candidate.any(-1, keepdim=True)) & (probability > 0)
    chosen = torch.where(candidate, 0.0, -torch.inf).to(logits)
    return torch.full_like(logits, -torch.inf).scatter(-1, index, chosen)


@register_method("mixed_cuts")
@dataclass(frozen=True, kw_only=True)
class MixedCUTS(GRPO):
    """GRPO on groups of which a share is sampled uniformly from constrained candidates (arXiv 2604.18493).

    After `first_tokens` tokens each further one of these rollouts is drawn uniformly from the `top_k` most probable
    tokens of at least `min_probability`. Ratios and log-probs are the policy's: as if it had sampled these tokens.
    """

    addresses = MappingProxyType(
        {
            "all_success": "samples half of it uniformly from the likeliest tokens, as in every group",
            "all_fail": "samples half of it uniformly from the likeliest tokens, as in every group",
        }
    )
    trl_hooks = "echorl.trl.methods.mixed_cuts:MixedCUTSHooks"

    share: float = option(0.5, "Share of a group that is sampled uniformly; one rollout never is. 0: GRPO.", ge=0, le=1)
    top_k: int = option(5, "Most candidates for a token.", ge=1)
    min_probability: float = option(
        0.03, "Least probability of a candidate; if no token has it, all count.", ge=0, le=1
    )
    first_tokens: int = option(5, "Tokens at the beginning of a rollout that are sampled as usual.", ge=0)

    def num_uniform(self, group_size: int) -> int:
        """Return the number of rollouts of a group that are sampled uniformly, its last ones.

        >>> [MixedCUTS(share=share).num_uniform(8) for share in (0.0, 0.5, 1.0)]
        [0, 4, 7]
        """
        return group_size - max(1, round(group_size * (1 - self.share)))
