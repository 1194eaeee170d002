"""What a method is: the trainer's settings that make it, its own options, and the pure functions that it adds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from echorl.core.groups import Groups
from echorl.core.statistics import KINDS


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """A scored generation batch: N rollouts, whole groups unless `rows` took a part.

    Attributes:
        rewards: float [N], the weighted sums of all reward functions; NaN where there is none.
        success: bool [N], the verdict; scored: bool [N], false where no verifier gave one.
        kinds: the groups by kind; `kinds.index` int64 [N] is each rollout's group.
    """

    rewards: Tensor
    success: Tensor
    scored: Tensor
    kinds: Groups

    @property
    def groups(self) -> Tensor:
        """int64 [N]: each rollout's group, from 0."""
        return self.kinds.index

    @property
    def degenerate(self) -> Tensor:
        """bool [N]: all rewards of the rollout's group are equal."""
        return self.kinds.degenerate[self.groups]

    @property
    def counts(self) -> tuple[Tensor, Tensor]:
        """int64 [G] twice: how many rollouts of each group are right, and how many have a verdict."""
        zeros = torch.zeros_like(self.kinds.kind)
        right, judged = (self.success & self.scored).long(), self.scored.long()
        return zeros.scatter_add(0, self.groups, right), zeros.scatter_add(0, self.groups, judged)

    def of_kind(self, *names: str) -> Tensor:
        """bool [N]: the rollout's group is of one of these kinds."""
        codes = torch.tensor([KINDS.index(name) for name in names], device=self.groups.device)
        return torch.isin(self.kinds.kind, codes)[self.groups]

    def rows(self, own: slice) -> Batch:
        """A part of the rollouts; what is known of their groups stays."""
        kinds = replace(self.kinds, index=self.groups[own])
        return Batch(rewards=self.rewards[own], success=self.success[own], scored=self.scored[own], kinds=kinds)


@dataclass(frozen=True, kw_only=True)
class Method:
    """The trainer's own method: nothing set, nothing added. Others override what they change.

    Attributes:
        settings: fields of the trainer's config and their values; a field that the user set otherwise keeps the user's.
        fixed: those of them that no user may set otherwise.
        part: what the trainer must do besides, by name ("trace", "hint", "dynamic_sampling", ...); None: nothing.
        needs_verdicts: whether the verifier's word is needed, and not the rewards alone.
    """

    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    fixed: ClassVar[tuple[str, ...]] = ()
    part: ClassVar[str | None] = None
    needs_verdicts: ClassVar[bool] = False

    @property
    def leaves_out(self) -> bool:
        """Whether `left_out` does anything."""
        return type(self).left_out is not Method.left_out

    @property
    def needs_entropy(self) -> bool:
        """Whether `token_advantages` does anything."""
        return False

    def buffer_of(self, max_completion_length: int) -> int:
        """Tokens below the limit over which a rollout's length is punished; 0: none."""
        return 0

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        """Change the group-relative advantages [N] of a batch."""
        return advantages

    def informative(self, advantages: Tensor, batch: Batch) -> Tensor:
        """bool [N]: rollouts with a policy gradient. `advantages` [N] are the method's; of equal rewards the trainer's
        can differ from 0 by rounding.
        """
        return ~batch.degenerate

    def entropy_rows(self, batch: Batch) -> Tensor:
        """bool [N]: the rollouts whose token entropies `token_advantages` uses."""
        return torch.zeros_like(batch.success)

    def token_advantages(self, advantages: Tensor, entropy: Tensor, mask: Tensor, batch: Batch) -> Tensor:
        """Advantages [B] as [B, T], from entropies [B, T] in nats (NaN: unknown) of the tokens in the loss, `mask`."""
        raise NotImplementedError

    def left_out(self, batch: Batch) -> Tensor:
        """bool [N]: rollouts outside the policy loss, its denominators, the KL and the entropy bonus."""
        return torch.zeros_like(batch.success)


def check_positive(**values: float) -> None:
    """ValueError for the first that is not a positive number."""
    for name, value in values.items():
        if not _is_number(value) or not value > 0:
            raise ValueError(f"{name}={value!r} is not allowed: it must be positive.")


def check_number(**values: float) -> None:
    """ValueError for the first that is not a finite number."""
    for name, value in values.items():
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(f"{name}={value!r} is not allowed: it must be a number.")


def check_not_negative(**values: float) -> None:
    """ValueError for the first that is not a finite number of at least 0."""
    check_number(**values)
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"{name}={value!r} is not allowed: it must be at least 0.")


def check_share(**values: float) -> None:
    """ValueError for the first that is not a number from 0 to 1."""
    for name, value in values.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{name}={value!r} is not allowed: it must be a number from 0 to 1.")


def check_whole(least: int, **values: int) -> None:
    """ValueError for the first that is not a whole number, or less than `least`."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}={value!r} is not allowed: it must be a whole number of at least {least}.")


def check_flag(**values: bool) -> None:
    """ValueError for the first that is neither true nor false (the text "false" is neither)."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r} is not allowed: it must be true or false.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
