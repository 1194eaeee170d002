"""Reinforce-Ada: a prompt is sampled in rounds until enough of its rollouts are right and enough are wrong."""

from __future__ import annotations

from dataclasses import dataclass

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


def unfinished(right: Tensor, wrong: Tensor, owner: Tensor, size: int) -> list[int]:
    """Return the prompts whose pool has a verdict, and too few rollouts of one kind.

    `right` and `wrong`, bool [M], tell the rollouts in the loss that succeeded and failed; neither: no verdict. `owner`
    int64 [M] is the prompt's number. All are of all rollouts so far.

    >>> right = torch.tensor([True, True, False, True])
    >>> unfinished(right, ~right, torch.tensor([0, 1, 0, 1]), 2)
    [1]
    """
    num_right, num_wrong = counts(right, wrong, owner)
    wanting = ~balanced(right, wrong, owner, size) & (num_right + num_wrong > 0)
    return wanting.nonzero().flatten().tolist()


def balanced(right: Tensor, wrong: Tensor, owner: Tensor, size: int) -> Tensor:
    """Return bool, one entry a prompt: its pool has size // 2 right rollouts and enough wrong ones for the rest."""
    num_right, num_wrong = counts(right, wrong, owner)
    return (num_right >= size // 2) & (num_wrong >= size - size // 2)


def counts(right: Tensor, wrong: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
    """Return int64, one entry a prompt, twice: how many of its pool are right, and how many wrong."""
    num = int(owner.max()) + 1
    return _sum(right.long(), owner, num), _sum(wrong.long(), owner, num)


def choose(right: Tensor, wrong: Tensor, owner: Tensor, size: int) -> Tensor:
    """Return bool [M]: `size` rollouts of every prompt, the earliest first, half of them right as far as there are.

    Those that are neither fill up a pool that has too few of both.
    """
    num_right, num_wrong = counts(right, wrong, owner)
    half = torch.full_like(num_right, size // 2)
    take_right = torch.minimum(num_right, torch.maximum(size - num_wrong, half))
    take_wrong = torch.minimum(num_wrong, size - take_right)
    chosen = torch.zeros_like(right)
    for kind, take in ((right, take_right), (wrong, take_wrong), (~right & ~wrong, size - take_right - take_wrong)):
        chosen |= kind & (_rank(kind, owner, len(take)) <= take[owner])
    return chosen


def _rank(kind: Tensor, owner: Tensor, num: int) -> Tensor:
    """Return int64 [M]: how many of its prompt's rollouts up to this one are of the kind."""
    mine = owner.unsqueeze(1) == torch.arange(num, device=owner.device)
    return (mine & kind.unsqueeze(1)).cumsum(0).gather(1, owner.unsqueeze(1)).squeeze(1)


def pool_advantages(rewards: Tensor, owner: Tensor, *, scale: bool) -> Tensor:
    """Return [M]: (r - mean) / (std + eps), or r - mean, of each prompt's pool; 0 without a reward, or if all agree."""
    rewarded = ~rewards.isnan()
    num = int(owner.max()) + 1
    count = _sum(rewarded.to(rewards), owner, num)
    mean = _sum(rewards.nan_to_num(0.0), owner, num) / count.clamp(min=1)
    centred = (rewards - mean[owner]).nan_to_num(0.0)
    std = (_sum(centred**2, owner, num) / (count - 1).clamp(min=1)).sqrt()
    centred = centred * (std > 1e-6)[owner]
    return centred / (std[owner] + EPSILON) if scale else centred


def _sum(values: Tensor, owner: Tensor, num: int) -> Tensor:
    return torch.zeros(num, dtype=values.dtype, device=values.device).scatter_add_(0, owner, values)
