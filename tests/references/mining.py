"""Mining as plain Python loops, written from the definitions and not from the library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from echorl import EchoConfig
from tests.references.steps import step_entropy


class Candidate(NamedTuple):
    score: float
    row: int
    step: int
    mean: float


class Clip(NamedTuple):
    rollout: int
    step: int
    end: int
    length: int
    entropy: float
    group: int


def mine_echo_clips(
    entropy: Sequence[Sequence[float]],
    step_ids: Sequence[Sequence[int]],
    success: Sequence[bool],
    group_ids: Sequence[int],
    config: EchoConfig,
    *,
    scored: Sequence[bool] | None = None,
    threshold: float | None = None,
    draw: int = 0,
) -> tuple[list[list[float]], list[Clip]]:
    """The weights [B][T] and the clips, by rollout, then by step."""
    means = step_entropy(entropy, step_ids)
    scored = [True] * len(success) if scored is None else scored
    eligible = [
        row
        for row, group in enumerate(group_ids)
        if success[row] and (config.scope == "verified" or all_succeed(group, group_ids, success, scored))
    ]
    if config.entropy_quantile is not None and threshold is None:
        values = [mean for row in eligible for mean in means[row] if mean > -math.inf]
        threshold = quantile(values, config.entropy_quantile)
    pools: dict[object, list[Candidate]] = {}
    for row, group in enumerate(group_ids):
        if row in eligible:
            pool = pools.setdefault(row if config.clip_per == "rollout" else group, [])
            pool += candidates(row, means[row], step_ids[row], config, threshold, draw)
    chosen = []
    for pool in pools.values():
        chosen += sorted(pool, key=lambda c: (-c.score, c.row, c.step))[: config.top_k]
    return cut(chosen, step_ids, group_ids, config)


def all_succeed(group: int, group_ids: Sequence[int], success: Sequence[bool], scored: Sequence[bool]) -> bool:
    return all(success[row] or not scored[row] for row, other in enumerate(group_ids) if other == group)


def candidates(
    row: int, means: Sequence[float], steps: Sequence[int], config: EchoConfig, threshold: float | None, draw: int
) -> list[Candidate]:
    if config.max_step_entropy is not None and max(means, default=0) > config.max_step_entropy:
        return []
    unlimited = config.entropy_quantile is None and config.max_step_entropy is None
    allowed = [
        step
        for step, mean in enumerate(means)
        if (mean > -math.inf or (config.select == "full" and unlimited))
        and sum(at == step for at in steps) >= config.min_step_tokens
        and (config.entropy_quantile is None or threshold is None or mean >= threshold)
    ]
    if config.select == "full" and allowed:
        allowed = [max(steps)]
    return [Candidate(score(config, row, step, means[step], draw), row, step, means[step]) for step in allowed]


def score(config: EchoConfig, row: int, step: int, mean: float, draw: int) -> float:
    if config.select == "max_entropy":
        return mean
    if config.select == "min_entropy":
        return -mean
    return uniform(row, step if config.select == "random" else 0, config.seed, draw)


def uniform(row: int, step: int, seed: int, draw: int) -> float:
    bits = mix(row)
    for salt in (step, seed, draw):
        bits = mix(bits + salt)
    return (bits & 0xFFFFFF) / 2**24


def mix(bits: int) -> int:
    bits = wrap(bits * -0x61C8864680B583EB + 0x1B873593)
    bits = wrap((bits ^ (bits >> 30)) * -0x40A7B892E31B1A47)
    bits = wrap((bits ^ (bits >> 27)) * -0x6B2FB644ECCEEE15)
    return bits ^ (bits >> 31)


def wrap(bits: int) -> int:
    """The int64 with the same last 64 bits."""
    return (bits + 2**63) % 2**64 - 2**63


def quantile(values: list[float], q: float) -> float | None:
    """The least value with a share of at least about `q` of all values at or below it."""
    return sorted(values)[max(1, round(q * len(values))) - 1] if values else None


def cut(
    chosen: list[Candidate], step_ids: Sequence[Sequence[int]], group_ids: Sequence[int], config: EchoConfig
) -> tuple[list[list[float]], list[Clip]]:
    weights = [[0.0] * len(row) for row in step_ids]
    clips = []
    for candidate in sorted(chosen, key=lambda c: (c.row, c.step)):
        inside = [t for t, step in enumerate(step_ids[candidate.row]) if 0 <= step <= candidate.step]
        norm = len(inside) if config.length_norm == "clip" else config.max_completion_length
        for t in inside:
            weights[candidate.row][t] += 1 / norm
        clip = Clip(
            rollout=candidate.row,
            step=candidate.step,
            end=inside[-1] + 1,
            length=len(inside),
            entropy=candidate.mean,
            group=group_ids[candidate.row],
        )
        clips.append(clip)
    return weights, clips
