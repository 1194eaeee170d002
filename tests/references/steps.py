"""Steps and step entropies as plain Python loops, written from the definitions and not from the library."""

from __future__ import annotations

import math
import struct
from collections.abc import Collection, Sequence


def segment_steps(
    token_ids: Sequence[Sequence[int]],
    mask: Sequence[Sequence[bool]],
    newline: Collection[int],
    blank: Collection[int],
) -> list[list[int]]:
    """`newline` and `blank` are sets of token ids."""
    return [_segment(ids, own, newline, blank) for ids, own in zip(token_ids, mask, strict=True)]


def _segment(ids: Sequence[int], own: Sequence[bool], newline: Collection[int], blank: Collection[int]) -> list[int]:
    steps = []
    step, cut, seen_text = 0, False, False
    for position, token in enumerate(ids):
        if not own[position]:
            steps.append(-1)
            continue
        if position > 0 and not own[position - 1]:
            cut = True
        if token not in blank:
            if cut and seen_text:
                step += 1
            cut, seen_text = False, True
        if token in newline:
            cut = True
        steps.append(step)
    return steps if seen_text else [-1] * len(steps)


def step_entropy(entropy: Sequence[Sequence[float]], step_ids: Sequence[Sequence[int]]) -> list[list[float]]:
    """Rows of equal length, K; -inf where a step has no token of finite entropy."""
    num_steps = max((step for row in step_ids for step in row), default=-1) + 1
    return [
        [_mean(row, steps, step) for step in range(num_steps)] for row, steps in zip(entropy, step_ids, strict=True)
    ]


def _mean(entropy: Sequence[float], steps: Sequence[int], step: int) -> float:
    total, count = 0.0, 0
    for value, at in zip(entropy, steps, strict=True):
        if at == step and math.isfinite(value):
            total += value
            count += 1
    return float32(total / count) if count else -math.inf


def float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]
