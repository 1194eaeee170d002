"""What a method is: the trainer's settings that make it, its own options, and the pure functions that it adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Method:
    """The trainer's own method: nothing set, nothing added. Others override what they change.

    Attributes:
        settings: fields of TRL's GRPOConfig and their values; a field that the user set otherwise keeps the user's.
        part: what the trainer must do besides, by name ("trace", "hint", "dynamic_sampling"); None: nothing.
    """

    settings: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    part: ClassVar[str | None] = None

    @property
    def changes_advantages(self) -> bool:
        """Whether `advantages` does anything."""
        return type(self).advantages is not Method.advantages

    def buffer_of(self, max_completion_length: int) -> int:
        """Tokens below the limit over which a rollout's length is punished; 0: none."""
        return 0

    def advantages(self, advantages: Tensor, rewards: Tensor, groups: Tensor) -> Tensor:
        """Change the group-relative advantages [N]; `rewards` [N] are summed (NaN: none), `groups` int64 [N]."""
        return advantages


def check_positive(**values: float) -> None:
    """ValueError for the first that is not a positive number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ValueError(f"{name}={value!r} is not allowed: it must be positive.")
