"""Refusals of settings that do not go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def refuse_if(conditions: Mapping[str, bool], sentence: str = "{}") -> None:
    """Raise a ValueError with `sentence`, in which `{}` stands for the first condition that holds."""
    for condition, holds in conditions.items():
        if holds:
            raise ValueError(sentence.format(condition))


def check_tensors(**values: Any) -> None:
    """Refuse a list or an array in the place of a tensor.

    Raises:
        ValueError: a value is no tensor; the message names it.
    """
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} is a {type(value).__name__}, not a tensor: give torch.tensor({name}).")
