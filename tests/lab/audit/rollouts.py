"""Rows of hand-made logs."""

from __future__ import annotations

from typing import Any

from echorl.lab.logs.rows import LoggedRollout


def rollout(response: str | None = None, reward: float | None = 0.0, line: int = 1, **columns: Any) -> LoggedRollout:
    """A rollout with the reference answer 7."""
    defaults: dict[str, Any] = {
        "prompt": "3+4?",
        "group": "",
        "step": 0,
        "rewards": (reward,),
        "advantage": None,
        "length": None,
        "truncated": None,
        "reference_answer": "7",
        "for_training": True,
        "file": 0,
    }
    return LoggedRollout(**{**defaults, **columns}, response=response, reward=reward, line=line)
