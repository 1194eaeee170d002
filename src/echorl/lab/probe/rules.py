"""Rules: each turns a prompt's rollouts into weights on their log-probabilities; its gradient is that of their sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.mining import mine_echo_clips
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.lab.evaluate.plan import seed_of
from echorl.lab.probe.gradients import Pattern
from echorl.methods.grpo import EPSILON

KINDS = ("all_success", "mixed", "all_fail")


@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """One prompt's G rollouts of at most T tokens; padding is 0 in float tensors, -1 in steps.

    Attributes:
        index: of the prompt; feeds the random choices.
        token_ids: int64 [G, T], the rollouts; mask: bool [G, T], true on their tokens.
        logp, entropy: float32 [G, T].
        steps: int64 [G, T], from `segment_steps`.
        success: bool [G].
        tracked: the prompt's success rate in other rollouts; None where there are none.
        max_new_tokens: where rollouts are cut off.
        seed: of the random choices.
    """

    index: int
    token_ids: Tensor
    mask: Tensor
    logp: Tensor
    entropy: Tensor
    steps: Tensor
    success: Tensor
    tracked: float | None
    max_new_tokens: int
    seed: int = 0

    @property
    def lengths(self) -> Tensor:
        """float32 [G], in tokens, the one that ends a rollout counted; one that is cut off has `max_new_tokens`."""
        return self.mask.sum(1).float()

    @property
    def surprise(self) -> Tensor:
        """float32 [G]: -log pi(o) of each rollout, whose expectation is the entropy of the policy's whole answer."""
        return -(self.logp * self.mask).sum(1)

    @property
    def kind(self) -> str:
        if bool(self.success.all()):
            return "all_success"
        return "mixed" if bool(self.success.any()) else "all_fail"


def make_group(
    index: int,
    responses: Sequence[list[int]],
    success: Tensor,
    logp: Tensor,
    entropy: Tensor,
    delimiters: StepDelimiters,
    max_new_tokens: int,
) -> Group:
    """Return the group of a prompt's rollouts, given as token ids, cut into steps; other rollouts of it are unknown."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(response) for response in responses], batch_first=True)
    mask = torch.arange(ids.shape[1]) < torch.tensor([len(response) for response in responses]).unsqueeze(1)
    return Group(
        index=index,
        token_ids=ids,
        mask=mask,
        logp=logp,
        entropy=entropy,
        steps=segment_steps(ids, mask, delimiters),
        success=success,
        tracked=None,
        max_new_tokens=max_new_tokens,
    )


Weigh = Callable[[Group], Tensor]
"""float32 [G, T]; training with the rule adds the gradient of sum w logp, which is `echo_loss` descended."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A way to learn from a group beside the policy gradient.

    Attributes:
        label: for tables.
        kinds: the kinds of group on which it is measured, each apart; "verified": all-success and mixed groups
            together, the scope in which EchoRL mines if nothing else is said; "all": every group.
        weigh: its weights.
    """

    label: str
    kinds: tuple[str, ...] = ("all_success", "mixed")
    weigh: Weigh = field(repr=False)


def leave_one_out(values: Tensor) -> Tensor:
    """Each value less the mean of the other G - 1: [G], with G at least 2."""
    return (values - values.mean()) * (len(values) / (len(values) - 1))


def _whole(weights: Tensor, group: Group) -> Tensor:
    return weights.unsqueeze(1) * group.mask


def _score_gradient(of: Callable[[Group], Tensor]) -> Weigh:
    """(1/G) sum_b (f(o_b) - mean of the others' f) grad log pi(o_b): unbiased for grad E[f(o)], f without theta in it.

    For f = -log pi, too: the gradient of -log pi(o) itself has expectation 0.
    """
    return lambda group: _whole(leave_one_out(of(group)) / len(group.success), group)


REFERENCES: Mapping[str, Weigh] = {
    "pass_at_1": _score_gradient(lambda group: group.success.float()),
    "length": _score_gradient(lambda group: group.lengths),
    "surprise": _score_gradient(lambda group: group.surprise),
}
"""Unbiased gradients of expectations: of success, of length in tokens, of -log pi(o), the answer's entropy in nats."""


def policy_loss(loss_type: str) -> Weigh:
    """Return the policy gradient as a trainer weighs it, by `group_relative` advantages and `loss_weights`."""

    def weigh(group: Group) -> Tensor:
        advantages = group_relative(group.success.float(), scale=loss_type != "dr_grpo")
        return loss_weights(advantages.unsqueeze(1), group, loss_type)

    return weigh


def group_relative(rewards: Tensor, *, scale: bool) -> Tensor:
    """Return the advantages [G] of a group, divided by its standard deviation if `scale`."""
    centred = rewards - rewards.mean()
    return centred / (rewards.std() + EPSILON) if scale else centred


def loss_weights(advantages: Tensor, group: Group, loss_type: str) -> Tensor:
    """Return float32 [G, T], the weights of advantages [G, T or 1]; "dapo" still lacks its division by mean length."""
    weights = advantages * group.mask / len(group.success)
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
        prompt = torch.zeros(len(group.success), dtype=torch.int64)
        return mine_echo_clips(scores, group.steps, group.success, prompt, config, draw=group.index).weights

    return weigh


def _all_rollouts(group: Group) -> Tensor:
    return group.mask.float()


def _tracked(group: Group) -> Tensor:
    """(r - v) / G, v the success rate of other rollouts: unbiased for pass@1 if taken on every group."""
    assert group.tracked is not None
    return _whole((group.success.float() - group.tracked) / len(group.success), group)


def _null(group: Group) -> Tensor:
    """The first rollout, whatever its verdict, up to a place drawn without looking: E grad log pi = 0 holds exactly."""
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
    "sum": Rule(label="all rollouts, summed", kinds=("all_success",), weigh=_all_rollouts),
    "tracked": Rule(label="policy gradient, tracked baseline", kinds=("all_success",), weigh=_tracked),
    "null": Rule(label="null check: any rollout's first tokens", kinds=("all",), weigh=_null),
}
"""Name -> rule. A rule more is an entry more."""


def factor(weights: Tensor) -> tuple[list[Pattern], Tensor]:
    """The few backward passes that all rules need: patterns and float32 [K, n] with sum_n mix[k, n] pattern_n = w[k].

    A row that is weighed evenly by several rules (a whole rollout, say) is one pattern, whatever each one's weight.

    Args:
        weights: float32 [K, G, T]; rows without any weight cost nothing, and no weight at all gives n = 0.
    """
    patterns: list[Pattern] = []
    places: dict[tuple[int, bytes], int] = {}
    entries: list[tuple[int, int, float]] = []
    for rule, row in (weights != 0).any(2).nonzero().tolist():
        own = weights[rule, row]
        scale = own[own.abs().argmax()]
        pattern = own / scale
        place = places.setdefault((row, pattern.numpy().tobytes()), len(patterns))
        if place == len(patterns):
            patterns.append(Pattern(row, pattern))
        entries.append((rule, place, float(scale)))
    mix = torch.zeros(len(weights), len(patterns))
    for rule, place, value in entries:
        mix[rule, place] = value
    return patterns, mix


def weigh_all(group: Group, loss_type: str, rules: Mapping[str, Rule]) -> Tensor:
    """Return float32 [K, G, T], the weights of all that `vector_names` lists."""
    weighs = (*REFERENCES.values(), policy_loss(loss_type), *(rule.weigh for rule in rules.values()))
    return torch.stack([weigh(group) for weigh in weighs])


def vector_names(rules: Mapping[str, Rule]) -> list[str]:
    """Return the names of the gradients: the references, the policy gradient as a trainer weighs it, the rules."""
    return [*REFERENCES, "loss", *rules]
