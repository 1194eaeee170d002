"""Reinforce-Ada: a prompt is sampled in rounds until enough of its rollouts are right and enough are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.methods.grpo import EPSILON, GRPO
from echorl.methods.registry import register_method


@register_method("reinforce_ada")
@dataclass(frozen=True, kw_only=True)
class ReinforceAda(GRPO):
    """GRPO on G of a prompt's pool, half right and half wrong, with the pool's mean and std (arXiv 2510.04996).

    A round samples every prompt whose pool does not have G // 2 right rollouts and G - G // 2 wrong ones yet. What is
    short of one half is filled up with the other, the earliest first. The authors' script has no std (`scale_rewards:
    none`), keeps 4 rollouts and samples 8 in a round (`num_generations: 4` with two groups a round).
    """

    addresses = MappingProxyType({"all_success": "samples it again", "all_fail": "samples it again"})

    max_rounds: int = option(4, "Most rounds, the first included; 1, with one group a round: GRPO.", ge=1)
    groups_per_round: int = option(1, "Groups of G rollouts that a round samples of each prompt.", ge=1)

    @property
    def chooses(self) -> bool:
        """True if a prompt can have more than G rollouts to choose from."""
        return self.max_rounds > 1 or self.groups_per_round > 1

    @property
    def trl_hooks(self) -> str | None:  # type: ignore[override]
        return "echorl.trl.methods.reinforce_ada:ReinforceAdaHooks" if self.chooses else None

    @property
    def needs_verdicts(self) -> bool:
        return self.chooses


def unfinished(success: Tensor, failure: Tensor, prompt: Tensor, size: int) -> list[int]:
    """Return the prompts whose pool has a verdict, and too few rollouts of one kind.

    `success` and `failure`, bool [M], are of all rollouts so far, both false for one without a verdict or outside the
    loss; int64 [M] `prompt` numbers the prompts.

    >>> success = torch.tensor([True, True, False, True])
    >>> unfinished(success, ~success, torch.tensor([0, 1, 0, 1]), 2)
    [1]
    """
    num_success, num_failure = counts(success, failure, prompt)
    is_unfinished = ~balanced(success, failure, prompt, size) & (num_success + num_failure > 0)
    return is_unfinished.nonzero().flatten().tolist()


def balanced(success: Tensor, failure: Tensor, prompt: Tensor, size: int) -> Tensor:
    """Return bool, one entry a prompt: its pool has size // 2 successes and size - size // 2 failures."""
    num_success, num_failure = counts(success, failure, prompt)
    return (num_success >= size // 2) & (num_failure >= size - size // 2)


def counts(success: Tensor, failure: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
    """Return int64 twice, one entry a prompt: the successes and the failures of its pool."""
    num = int(prompt.max()) + 1
    return _sum(success.long(), prompt, num), _sum(failure.long(), prompt, num)


def choose(success: Tensor, failure: Tensor, prompt: Tensor, size: int) -> Tensor:
    """Return bool [M]: `size` rollouts of every prompt, the earliest first, half of them successes if it has as many.

    Rollouts that are neither fill up a pool that has too few of both.
    """
    num_success, num_failure = counts(success, failure, prompt)
    half = torch.full_like(num_success, size // 2)
    take_success = torch.minimum(num_success, torch.maximum(size - num_failure, half))
    take_failure = torch.minimum(num_failure, size - take_success)
    chosen = torch.zeros_like(success)
    for kind, take in (
        (success, take_success),
        (failure, take_failure),
        (~success & ~failure, size - take_success - take_failure),
    ):
        chosen |= kind & (_rank(kind, prompt, len(take)) <= take[prompt])
    return chosen


def _rank(kind: Tensor, prompt: Tensor, num: int) -> Tensor:
    """Return int64 [M], the number of rollouts of the kind among those of its prompt up to this one."""
    same_prompt = prompt.unsqueeze(1) == torch.arange(num, device=prompt.device)
    return (same_prompt & kind.unsqueeze(1)).cumsum(0).gather(1, prompt.unsqueeze(1)).squeeze(1)


def pool_advantages(rewards: Tensor, prompt: Tensor, *, scale: bool) -> Tensor:
    """Return [M]: (r - mean) / (std + eps), or r - mean, of each prompt's pool; 0 without a reward, or if all agree."""
    rewarded = ~rewards.isnan()
    num = int(prompt.max()) + 1
    count = _sum(rewarded.to(rewards), prompt, num)
    mean = _sum(rewards.nan_to_num(0.0), prompt, num) / count.clamp(min=1)
    centred = (rewards - mean[prompt]).nan_to_num(0.0)
    std = (_sum(centred**2, prompt, num) / (count - 1).clamp(min=1)).sqrt()
    centred = centred * (std > 1e-6)[prompt]
    return centred / (std[prompt] + EPSILON) if scale else centred


def _sum(values: Tensor, prompt: Tensor, num: int) -> Tensor:
    return torch.zeros(num, dtype=values.dtype, device=values.device).scatter_add_(0, prompt, values)
