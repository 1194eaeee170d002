"""Rules, which weigh the log-probabilities of a prompt's rollouts; a rule's gradient is that of the weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.miner import EchoMiner
from echorl.core.rollouts import Rollouts
from echorl.core.steps import StepDelimiters
from echorl.lab.evaluate.plan import seed_of
from echorl.lab.probe.gradients import Pattern
from echorl.methods.grpo import EPSILON

KINDS = ("all_success", "mixed", "all_fail")


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """One prompt's G rollouts of at most T tokens.

    Attributes:
        index: number of the prompt; feeds the random choices.
        rollouts: the rollouts as a trainer's methods and its miner read them, with rewards of 1 and 0.
        delimiters: of the tokenizer, for the steps.
        logp, entropy: float32 [G, T], 0 on padding.
        max_new_tokens: the limit at which rollouts are cut off.
        tracked: the prompt's success rate in other rollouts; None where there are none.
        seed: seed of the random choices.
    """

    index: int
    rollouts: Rollouts
    delimiters: StepDelimiters
    logp: Tensor
    entropy: Tensor
    max_new_tokens: int
    tracked: float | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.rollouts.rewards)

    @property
    def mask(self) -> Tensor:
        """bool [G, T], true on the rollouts' tokens."""
        return self.rollouts.in_loss

    @property
    def lengths(self) -> Tensor:
        """float32 [G], in tokens with the end token; a rollout that is cut off has `max_new_tokens`."""
        return self.mask.sum(1).float()

    @property
    def surprise(self) -> Tensor:
        """float32 [G]: -log pi(o) of each rollout, whose expectation is the entropy of the policy's whole answer."""
        return -(self.logp * self.mask).sum(1)


def make_group(
    index: int,
    responses: Sequence[list[int]],
    success: Tensor,
    logp: Tensor,
    entropy: Tensor,
    delimiters: StepDelimiters,
    max_new_tokens: int,
    **settings: Any,
) -> Group:
    """Return the group of a prompt's rollouts, given as token ids; `settings` are further fields of the group."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(response) for response in responses], batch_first=True)
    rollouts = Rollouts.build(
        rewards=success.float(),
        success=success,
        has_verdict=torch.ones_like(success),
        group_ids=torch.zeros(len(success), dtype=torch.int64),
        token_ids=ids,
        in_loss=torch.arange(ids.shape[1]) < torch.tensor([len(response) for response in responses]).unsqueeze(1),
    )
    return Group(
        index=index,
        rollouts=rollouts,
        delimiters=delimiters,
        logp=logp,
        entropy=entropy,
        max_new_tokens=max_new_tokens,
        **settings,
    )


Weigh = Callable[[Group], Tensor]
"""float32 [G, T]; training with the rule adds the gradient of sum w logp, which is `echo_loss` descended."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that learns from a group beside the policy gradient.

    Attributes:
        label: its name in tables.
        kinds: the kinds of group on which it is measured, each apart; "verified": all-success and mixed groups
            together, EchoRL's default scope; "all": every group.
        weigh: its weights.
    """

    label: str
    kinds: tuple[str, ...] = ("all_success", "mixed")
    weigh: Weigh = field(repr=False)


def leave_one_out(values: Tensor) -> Tensor:
    """Return each value minus the mean of the other G - 1: [G], with G at least 2."""
    return (values - values.mean()) * (len(values) / (len(values) - 1))


def _whole(weights: Tensor, group: Group) -> Tensor:
    return weights.unsqueeze(1) * group.mask


def _score_gradient(score: Callable[[Group], Tensor]) -> Weigh:
    """Return (1/G) sum_b (f(o_b) - mean of the other f) grad log pi(o_b), unbiased for grad E[f(o)], as weights.

    The score f does not depend on theta, or is -log pi: the gradient of -log pi(o) itself has expectation 0.
    """
    return lambda group: _whole(leave_one_out(score(group)) / len(group), group)


REFERENCES: Mapping[str, Weigh] = {
    "pass_at_1": _score_gradient(lambda group: group.rollouts.rewards),
    "length": _score_gradient(lambda group: group.lengths),
    "surprise": _score_gradient(lambda group: group.surprise),
}
"""Unbiased gradients of expectations: of success, of length in tokens, of -log pi(o), the answer's entropy in nats."""


def policy_loss(loss_type: str) -> Weigh:
    """Return the policy gradient as a trainer weighs it, by `group_relative` advantages and `loss_weights`."""

    def weigh(group: Group) -> Tensor:
        advantages = group_relative(group.rollouts.rewards, scale=loss_type != "dr_grpo")
        return loss_weights(advantages.unsqueeze(1), group, loss_type)

    return weigh


def group_relative(rewards: Tensor, *, scale: bool) -> Tensor:
    """Return the advantages [G] of a group, divided by its standard deviation if `scale`."""
    centred = rewards - rewards.mean()
    return centred / (rewards.std() + EPSILON) if scale else centred


def loss_weights(advantages: Tensor, group: Group, loss_type: str) -> Tensor:
    """Return float32 [G, T], the weights of advantages [G, T or 1]; "dapo" lacks its division by the mean length."""
    weights = advantages * group.mask / len(group)
    if loss_type == "dr_grpo":
        return weights / group.max_new_tokens
    return weights / group.lengths.unsqueeze(1) if loss_type == "grpo" else weights


def _clip(
    select: Literal["max_entropy", "min_entropy", "random", "full"],
    *,
    length_norm: Literal["clip", "constant"] = "clip",
    by_surprisal: bool = False,
) -> Weigh:
    def weigh(group: Group) -> Tensor:
        limit = group.max_new_tokens
        config = EchoConfig(select=select, length_norm=length_norm, max_completion_length=limit, seed=group.seed)
        scores = -group.logp if by_surprisal else group.entropy
        return EchoMiner(config, group.delimiters)(group.rollouts, scores, draw=group.index).clips.weights

    return weigh


def _tracked(group: Group) -> Tensor:
    """Return (r - v) / G, with v the success rate of other rollouts: unbiased for pass@1 if taken on every group."""
    assert group.tracked is not None
    return _whole((group.rollouts.rewards - group.tracked) / len(group), group)


def _null(group: Group) -> Tensor:
    """Return weights on the first rollout up to a place drawn by the seed alone: E grad log pi = 0 holds exactly."""
    generator = torch.Generator().manual_seed(seed_of(group.seed, "null", group.index))
    end = int(torch.randint(1, group.max_new_tokens + 1, (), generator=generator))
    weights = torch.zeros_like(group.logp)
    weights[0, :end] = group.mask[0, :end] / group.max_new_tokens
    return weights


TOGETHER = ("all_success", "mixed", "verified")

RULES: Mapping[str, Rule] = {
    "echo": Rule(label="EchoClip, 1/L (the paper's)", kinds=TOGETHER, weigh=_clip("max_entropy")),
    "echo_constant": Rule(label="EchoClip, constant norm", weigh=_clip("max_entropy", length_norm="constant")),
    "full": Rule(label="whole success, 1/L", kinds=TOGETHER, weigh=_clip("full")),
    "random": Rule(label="random prefix, 1/L", kinds=TOGETHER, weigh=_clip("random")),
    "random_constant": Rule(label="random prefix, constant norm", weigh=_clip("random", length_norm="constant")),
    "min_entropy": Rule(label="lowest-entropy prefix, 1/L", weigh=_clip("min_entropy")),
    "surprisal": Rule(label="highest-surprisal prefix, 1/L", weigh=_clip("max_entropy", by_surprisal=True)),
    "sum": Rule(label="all rollouts, summed", kinds=("all_success",), weigh=lambda group: group.mask.float()),
    "tracked": Rule(label="policy gradient, tracked baseline", kinds=("all_success",), weigh=_tracked),
    "null": Rule(label="null check: any rollout's first tokens", kinds=("all",), weigh=_null),
}
"""Name -> rule."""


def factor(weights: Tensor) -> tuple[list[Pattern], Tensor]:
    """Return the few backward passes that all rules need: patterns and their shares in each rule.

    A row that is weighed evenly by several rules (a whole rollout, say) is one pattern, whatever the weight of each.

    Args:
        weights: float32 [K, G, T]; rows without any weight cost nothing, and no weight at all gives n = 0.

    Returns:
        The patterns, and float32 [K, n] with sum_n mix[k, n] pattern_n = weights[k].
    """
    patterns: dict[tuple[int, bytes], Pattern] = {}
    entries: list[tuple[int, tuple[int, bytes], Tensor]] = []
    for rule, row in (weights != 0).any(2).nonzero().tolist():
        row_weights = weights[rule, row]
        scale = row_weights[row_weights.abs().argmax()]
        pattern = row_weights / scale
        key = (row, pattern.numpy().tobytes())
        patterns.setdefault(key, Pattern(row, pattern))
        entries.append((rule, key, scale))
    places = {key: place for place, key in enumerate(patterns)}
    mix = torch.zeros(len(weights), len(patterns))
    for rule, key, scale in entries:
        mix[rule, places[key]] = scale
    return list(patterns.values()), mix


def weigh_all(group: Group, loss_type: str, rules: Mapping[str, Rule]) -> Tensor:
    """Return float32 [K, G, T], the weights of all that `vector_names` lists."""
    weighs = (*REFERENCES.values(), policy_loss(loss_type), *(rule.weigh for rule in rules.values()))
    return torch.stack([weigh(group) for weigh in weighs])


def vector_names(rules: Mapping[str, Rule]) -> list[str]:
    """Return the names of the gradients: the references, the policy gradient as a trainer weighs it, the rules."""
    return [*REFERENCES, "loss", *rules]
