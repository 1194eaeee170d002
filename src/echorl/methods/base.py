"""What a method is: the trainer's settings that make it, its own options, and the pure functions that it adds."""

from __future__ import annotations

import math
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
        if not _is_number(value) or not value > 0:
            raise ValueError(f"{name}={value!r} is not allowed: it must be positive.")


def check_number(**values: float) -> None:
    """ValueError for the first that is not a finite number."""
    for name, value in values.items():
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(f"{name}={value!r} is not allowed: it must be a number.")


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
