"""Refusals of settings that do not go together."""

from __future__ import annotations

from collections.abc import Mapping


def refuse_if(conditions: Mapping[str, bool], sentence: str = "{}") -> None:
    """Raise a ValueError with `sentence`, in which `{}` stands for the first condition that holds."""
    for condition, holds in conditions.items():
        if holds:
            raise ValueError(sentence.format(condition))
