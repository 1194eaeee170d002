"""Group tables of simulated logs, whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from echorl.lab.audit.groups import GroupTable


def group_table(successes: Sequence[int], size: int = 8, **columns: Any) -> GroupTable:
    """A table of groups of `size` rollouts with binary rewards, 10 tokens each, 4 groups a step, no prompt twice."""
    right = np.asarray(successes, dtype=np.int64)
    n = len(right)
    defaults: dict[str, Any] = {
        "step": np.arange(n) // 4,
        "prompt": np.arange(n),
        "size": np.full(n, size),
        "verdicts": np.full(n, size),
        "successes": right,
        "degenerate": (right == 0) | (right == size),
        "length": np.full(n, 10 * size),
        "truncated": np.full(n, -1),
        "num_texts": np.full(n, -1),
        "file": np.zeros(n, dtype=np.int64),
        "line": np.arange(n) * size + 1,
        "last_line": (np.arange(n) + 1) * size,
        "unit": "tokens",
    }
    return GroupTable(**{**defaults, **columns})


def simulate(rng: np.random.Generator, rates: np.ndarray, visits: int = 1, size: int = 8) -> GroupTable:
    """A log of prompts with these success rates, each visited `visits` times in a random order within a pass."""
    prompt = np.concatenate([rng.permutation(len(rates)) for _ in range(visits)])
    return group_table(rng.binomial(size, rates[prompt]), size, prompt=prompt)
