"""Rows of hand-made logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LoggedRollout:
    prompt: str
    step: int | None
    reward: float | None
    rewards: tuple[float | None, ...]
    advantage: float | None
    response: str | None
    length: int | None
    truncated: bool | None
    reference_answer: str | None
    file: int
    line: int


def rollout(response: str | None = None, reward: float | None = 0.0, line: int = 1, **columns: Any) -> LoggedRollout:
    """A rollout with the reference answer 7."""
    defaults: dict[str, Any] = {
        "prompt": "3+4?",
        "step": 0,
        "rewards": (reward,),
        "advantage": None,
        "length": None,
        "truncated": None,
        "reference_answer": "7",
        "file": 0,
    }
    return LoggedRollout(**{**defaults, **columns}, response=response, reward=reward, line=line)
