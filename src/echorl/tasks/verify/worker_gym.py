"""The functions of reasoning-gym's workers: `worker` loads this file by its path; it imports nothing of echorl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

MAX_ANSWER_CHARS = 20_000
"""A longer answer is a failure; no scorer of reasoning-gym sees it."""


def reasoning_gym_score(generator: str, config: str, answer: str, instance: str) -> Any:
    """What the generator's scorer says, unchanged; 0.0 for an answer that is too long for it."""
    if len(answer) > MAX_ANSWER_CHARS:
        return 0.0
    return _scorer(generator, config).score_answer(answer, decode(instance))


@cache
def _scorer(generator: str, config: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(generator, seed=0, size=1, **decode(config))


def encode(value: Any) -> str:
    """The value as JSON with tuples marked: scorers compare them, and plain JSON would make them lists."""
    return json.dumps(_mark(value))


def decode(text: str) -> Any:
    """What `encode` was given.

    >>> decode(encode({"board": ((1, 2), [3])}))
    {'board': ((1, 2), [3])}
    """
    return json.loads(text, object_hook=lambda value: tuple(value["__tuple__"]) if "__tuple__" in value else value)


def _mark(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"__tuple__": [_mark(item) for item in value]}
    if isinstance(value, list):
        return [_mark(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _mark(item) for key, item in value.items()}
    return value


def warm_up() -> None:
    """Import what every call needs."""
    import reasoning_gym  # noqa: F401


FUNCTIONS = {"reasoning_gym_score": reasoning_gym_score}
