"""`Method`, which a rule for advantages derives from, and the calls of its hooks with their results checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from echorl.core.options import check_options
from echorl.core.rollouts import Rollouts

NO_FILE = "no file"
"""`Method.source_hash` of a class that was typed into a notebook or an interpreter."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """The trainer's method, unchanged. A method overrides what it changes.

    A rule is pure: its hooks return new tensors and remember nothing between batches.

    Attributes:
        settings: fields of the trainer's config and their values. A field that the user wrote keeps the user's value.
        fixed: those of the settings that a user cannot change.
        trl_hooks: import string, "module:Class", of the hooks with which TRL's trainer samples otherwise; None: it
            samples as without a method.
        addresses: kind of group without a gradient (of `KINDS`) -> what the method does on such a group; on other kinds
            it does what GRPO does.
        needs_verdicts: whether the rule reads verdicts (`success`), and not rewards alone.
        source_hash: hash of the file of a user's rule; "" of echorl's methods, `NO_FILE` of a class without a file.
    """

    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    fixed: ClassVar[tuple[str, ...]] = ()
    trl_hooks: ClassVar[str | None] = None
    addresses: ClassVar[Mapping[str, str]] = MappingProxyType({})
    source_hash: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def needs_verdicts(self) -> bool:
        """True if the method has a rule, unless a subclass says otherwise."""
        return self._overrides("advantages") or self._overrides("token_advantages") or self._overrides("excluded")

    @property
    def excludes(self) -> bool:
        """True if `excluded` can return a rollout."""
        return self._overrides("excluded")

    @property
    def changes_tokens(self) -> bool:
        """True if `token_advantages` changes anything."""
        return self._overrides("token_advantages")

    @property
    def needs_entropy(self) -> bool:
        """True if the method reads token entropies: for `token_advantages`, or in its hooks."""
        return self.changes_tokens

    def _overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(Method, hook)

    def overlong_tokens(self, max_completion_length: int) -> int:
        """Return the number of tokens below the limit over which a rollout's length is punished; 0: none."""
        return 0

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the advantages [N], given the trainer's group-relative ones."""
        return advantages

    def entropy_rows(self, rollouts: Rollouts) -> Tensor:
        """Return bool [N], the rollouts whose token entropies the method reads."""
        return torch.full_like(rollouts.success, self.needs_entropy)

    def token_advantages(self, advantages: Tensor, entropy: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the advantages [B] of the rows `rollouts.local` as [B, T], one a token.

        `entropy` [B, T] is in nats, NaN where it is unknown; `rollouts.in_loss` tells the tokens in the loss.
        """
        return advantages.unsqueeze(1).expand_as(entropy)

    def excluded(self, rollouts: Rollouts) -> Tensor:
        """Return bool [N], the rollouts to exclude from the loss, its denominators, the KL and the entropy bonus."""
        return torch.zeros_like(rollouts.success)
