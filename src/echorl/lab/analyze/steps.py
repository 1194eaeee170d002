"""Deletion of steps from a solution: pure functions of entropies and lengths."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

HIGH_FIRST, LOW_FIRST, RANDOM, FRONT_FIRST = ORDERS = ("high_first", "low_first", "random", "front_first")
"""Orders of deletion: from high to low entropy, from low to high, as a seed draws, or as the steps stand in the text.

The last is a control: where the first steps are the uncertain ones, entropy and place cannot be told apart without it.
"""
PERCENTS = tuple(range(0, 101, 10))
"""Shares of the steps before the answer that are deleted."""
MARKERS = ("####", "\\boxed", "\\fbox", "<answer>")
"""Marks of an answer, which the verifiers look for: a step with one of them gives the answer away."""


def num_body_steps(texts: Sequence[str]) -> int:
    """Return the number of steps before the answer: those before the first step with a marker, else all but the last.

    Only these are shown or deleted; the answer is never shown. 0 where the answer comes in the first step.

    >>> num_body_steps(["2+3=5\\n", "5+4=9\\n", "#### 9"]), num_body_steps(["2+3=5\\n", "So it is 5."])
    (2, 1)
    """
    marked = (k for k, text in enumerate(texts) if any(marker in text for marker in MARKERS))
    return next(marked, max(0, len(texts) - 1))


def removal_order(entropies: Sequence[float], order: str, seed: int) -> list[int]:
    """Return the steps in the order of deletion; of equal entropies the earlier one counts as the higher.

    >>> removal_order([0.1, 0.7, 0.4], "high_first", 0), removal_order([0.1, 0.7, 0.4], "low_first", 0)
    ([1, 2, 0], [0, 2, 1])
    """
    if order == RANDOM:
        return random.Random(seed).sample(range(len(entropies)), len(entropies))
    if order == FRONT_FIRST:
        return list(range(len(entropies)))
    down = sorted(range(len(entropies)), key=lambda k: (-entropies[k], k))
    return down if order == HIGH_FIRST else down[::-1]


def num_removed(steps: int, percent: int) -> int:
    """Return that share of the steps as a whole number, halves upwards.

    >>> [num_removed(3, percent) for percent in (0, 10, 20, 50, 80, 90, 100)]
    [0, 0, 1, 2, 2, 3, 3]
    """
    return (2 * percent * steps + 100) // 200


def kept_steps(order: Sequence[int], removed: int) -> tuple[int, ...]:
    """Return the steps that remain, in the text's order, without the first `removed` steps of `order`.

    >>> kept_steps([1, 2, 0], 1)
    (0, 2)
    """
    return tuple(sorted(order[removed:]))


def removed_share(lengths: Sequence[int], kept: Sequence[int]) -> float:
    """Return the share of the tokens that were deleted with the steps; 0 without tokens.

    >>> removed_share([5, 1, 4], (0, 2))
    0.1
    """
    total = sum(lengths)
    return (total - sum(lengths[k] for k in kept)) / total if total else 0.0


def shows(text: str, answer: str) -> bool:
    """Return whether the answer stands in the text as a word of its own; an empty answer stands nowhere.

    >>> shows("5 + 12 = 17 pears", "17"), shows("170 or 1.17 or 17.5", "17"), shows("1,000.", "1000")
    (True, False, True)
    """
    if not answer:
        return False
    return re.search(rf"(?<![\w.]){re.escape(answer)}(?!\w|\.\d)", text.replace(",", "")) is not None


def area(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the area under the curve through the points, by trapezoids; the mean height where xs run from 0 to 1.

    >>> area([0.0, 0.5, 1.0], [1.0, 1.0, 0.0])
    0.75
    """
    return sum((b - a) * (y + z) / 2 for a, b, y, z in zip(xs, xs[1:], ys, ys[1:], strict=False))
