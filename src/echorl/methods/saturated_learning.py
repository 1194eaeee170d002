"""Saturated learning: the rollouts of an all-success group are ranked, and learned by rank."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.judging import FIELDS, QUESTION
from echorl.methods.registry import register_method


@register_method("saturated_learning")
@dataclass(frozen=True, kw_only=True)
class SaturatedLearning(GRPO):
    """GRPO; the loss of all-success groups adds a preference among their rollouts (arXiv 2606.01436).

    A rollout's score s is by `ranking`

    - "entropy": 1 over the mean entropy of its tokens;
    - "judgement": the number of the group's other rollouts to which the policy prefers it when it is asked, pair by
      pair. It answers greedily, in at most `max_completion_length` tokens, G (G - 1) / 2 times a group. A group of
      which no answer can be read is not ranked.

    `loss` is, with p the mean log-prob of a rollout,

    - "rrhf": `rank_weight` times the sum over pairs, s_i > s_j, of sigmoid(s_i - s_j) (p_j - p_i), less p of the best;
    - "dpo": -log sigmoid(beta d), best against worst; d is the difference of their log(pi / pi_ref), whole rollouts.

    Their mean over all prompts of a generation batch has the weight `coef`. pi_ref is the trainer's reference model
    where its `beta` is above 0, else the policy that sampled.
    """

    addresses = MappingProxyType(
        {"all_success": "prefers rollouts of low entropy, or those that the policy judges better"}
    )
    trl_hooks = "echorl.trl.methods.saturated_learning:RankHooks"
    needs_verdicts = True

    ranking: Literal["entropy", "judgement"] = option(
        "entropy", "Score of a rollout: low entropy, or comparisons by the policy itself, which it has to sample."
    )
    judge_prompt: str = option(
        QUESTION, "What the policy is asked about two rollouts; has {problem}, {first} and {second}."
    )
    coef: float = option(1.0, "Weight of the preference loss; 0: GRPO.", ge=0)
    loss: Literal["rrhf", "dpo"] = option(
        "rrhf", "The authors' RRHF, all pairs of a group without a margin; or DPO, the best against the worst."
    )
    rank_weight: float = option(0.1, "RRHF's weight of the pairs beside the best rollout's NLL.", ge=0)
    dpo_beta: float = option(5.0, "DPO's beta.", gt=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if missing := [name for name in FIELDS if f"{{{name}}}" not in self.judge_prompt]:
            raise ValueError(f"judge_prompt={self.judge_prompt!r} has no {{{missing[0]}}}: write it where it belongs.")

    @property
    def needs_entropy(self) -> bool:
        return self.coef > 0 and self.ranking == "entropy"

    @property
    def judges(self) -> bool:
        """True if the policy is asked to compare rollouts."""
        return self.coef > 0 and self.ranking == "judgement"

    def entropy_rows(self, rollouts: Rollouts) -> Tensor:
        """Return the rollouts of all-success groups, where they are ranked by entropy."""
        return self.ranked_rows(rollouts) & self.needs_entropy

    def ranked_rows(self, rollouts: Rollouts) -> Tensor:
        """Return bool [N], the rollouts of all-success groups."""
        return rollouts.all_success & (self.coef > 0)

    def rollout_weights(self, scores: Tensor, log_ratio: Tensor, rollouts: Rollouts) -> Tensor:
        """Return w [N] of the loss -sum_i w_i log pi_i over a batch, log pi_i a rollout's mean (RRHF) or sum (DPO).

        DPO's w is that of the gradient where the policy is the one that `log_ratio` is of.

        Args:
            scores: [N], by `ranking`; NaN where a rollout's is unknown, which is then not ranked.
            log_ratio: [N], log(pi / pi_ref) of each rollout.
        """
        weights = torch.zeros_like(scores)
        ranked = self.ranked_rows(rollouts) & scores.isfinite()
        for group in rollouts.groups.index[ranked].unique():
            rows = (ranked & (rollouts.groups.index == group)).nonzero().flatten()
            if self.loss == "rrhf":
                weights[rows] = rrhf_weights(scores[rows], self.rank_weight)
            else:
                weights[rows] = dpo_weights(scores[rows], log_ratio[rows], self.dpo_beta)
        return weights


def certainty(entropy: Tensor) -> Tensor:
    """Return the scores [N] of rollouts with these mean entropies in nats [N]; NaN stays NaN."""
    return 1 / entropy.clamp(min=1e-8)


def rrhf_weights(scores: Tensor, rank_weight: float) -> Tensor:
    """Return the weights [n] of a group's mean log-probs; of equal scores the first is the best.

    >>> rrhf_weights(torch.tensor([0.0, 100.0]), 0.1).tolist()
    [-0.10000000149011612, 1.100000023841858]
    """
    differences = scores.unsqueeze(1) - scores.unsqueeze(0)
    pairs = differences.sigmoid() * (differences > 0)
    weights = rank_weight * (pairs.sum(1) - pairs.sum(0))
    weights[scores.argmax()] += 1
    return weights


def dpo_weights(scores: Tensor, log_ratio: Tensor, beta: float) -> Tensor:
    """Return the weights [n] of a group's log-probs: 0 for all but the best and the worst, or if all scores are equal.

    >>> dpo_weights(torch.tensor([2.0, 3.0, 1.0]), torch.zeros(3), 5.0).tolist()
    [0.0, 2.5, -2.5]
    """
    weights, best, worst = torch.zeros_like(scores), scores.argmax(), scores.argmin()
    if scores[best] > scores[worst]:
        weight = beta * torch.sigmoid(-beta * (log_ratio[best] - log_ratio[worst]))
        weights[best], weights[worst] = weight, -weight
    return weights
