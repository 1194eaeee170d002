"""`Method`, which a rule for advantages derives from, and the calls of its hooks with their results checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from echorl.core.groups import Groups
from echorl.core.options import check_options
from echorl.core.statistics import KINDS

NO_FILE = "no file"
"""`Method.source_hash` of a class that was typed into a notebook or an interpreter."""


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
    def all_success(self) -> Tensor:
        """bool [N]: the rollout has a verdict, and every verdict of its group is a success."""
        return self.of_kind("all_success") & self.scored

    @property
    def all_fail(self) -> Tensor:
        """bool [N]: the rollout has a verdict, and every verdict of its group is a failure."""
        return self.of_kind("all_fail") & self.scored

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
    """The trainer's own method: nothing set, nothing added. A method overrides what it changes.

    A rule is pure: its hooks return new tensors and remember nothing between batches.

    Attributes:
        settings: fields of the trainer's config and their values. A field that the user wrote keeps the user's value.
        fixed: those of the settings that a user cannot change.
        part: import string of the hooks with which a trainer samples otherwise; None: it samples as without a method.
        needs_verdicts: whether the rule reads verdicts (`success`), and not rewards alone.
        source_hash: hash of the file that holds a user's rule; "" of echorl's own, `NO_FILE` of a class without a file.
    """

    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    fixed: ClassVar[tuple[str, ...]] = ()
    part: ClassVar[str | None] = None
    source_hash: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def needs_verdicts(self) -> bool:
        """True for every rule that does not say otherwise."""
        return self._overrides("advantages") or self._overrides("token_advantages") or self._overrides("left_out")

    @property
    def leaves_out(self) -> bool:
        """Whether `left_out` can return a rollout."""
        return self._overrides("left_out")

    @property
    def needs_entropy(self) -> bool:
        """Whether `token_advantages` changes anything."""
        return self._overrides("token_advantages")

    def _overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(Method, hook)

    def buffer_of(self, max_completion_length: int) -> int:
        """Return the number of tokens below the limit over which a rollout's length is punished; 0: none."""
        return 0

    def advantages(self, advantages: Tensor, batch: Batch) -> Tensor:
        """Return the advantages [N], given the trainer's group-relative ones."""
        return advantages

    def entropy_rows(self, batch: Batch) -> Tensor:
        """Return bool [N], the rollouts whose token entropies `token_advantages` reads."""
        return torch.full_like(batch.success, self.needs_entropy)

    def token_advantages(self, advantages: Tensor, entropy: Tensor, mask: Tensor, batch: Batch) -> Tensor:
        """Return the advantages [B] of some rollouts as [B, T], one a token.

        `entropy` [B, T] is in nats, NaN where it is unknown; `mask` bool [B, T] tells the tokens in the loss.
        """
        return advantages.unsqueeze(1).expand_as(entropy)

    def left_out(self, batch: Batch) -> Tensor:
        """Return bool [N], the rollouts to exclude from the loss, its denominators, the KL and the entropy bonus."""
        return torch.zeros_like(batch.success)
