"""ExGRPO: right rollouts of earlier visits, replayed in the groups of their prompts."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from echorl.core.options import option
from echorl.methods.luffy import LUFFY
from echorl.methods.registry import register_method


@register_method("exgrpo")
@dataclass(frozen=True, kw_only=True)
class ExGRPO(LUFFY):
    """LUFFY, whose trace is a right rollout of the policy from an earlier visit to the prompt (arXiv 2510.02245).

    Up to `ratio` of a batch's prompts come from the buffer. It holds the right rollouts of groups with a success and a
    failure, and the number k of successes at the prompt's last visit. Prompts are drawn by k, with the weight
    exp(-(k - G/2)^2 / 2); of a prompt's rollouts the one of lowest mean entropy under the present policy is replayed.
    It is one of the group's G; its loss is -A f(w), f(w) = w / (w + gamma), w = pi / pi_old with the probabilities
    under which it was sampled. A prompt whose group is all right is retired: it leaves the buffer and is not visited
    again, as long as more prompts are left than a batch has. Nothing is stored until more than `start` of a batch's
    rollouts are right.
    """

    addresses = MappingProxyType({"all_success": "retires the prompt", "all_fail": "nothing; with a replay A < 0"})
    trl_hooks = "echorl.trl.methods.exgrpo:ReplayHooks"

    ratio: float = option(
        0.5, "rho, the largest share of replayed prompts; 0: LUFFY without demonstrations.", ge=0, le=1
    )
    start: float = option(0.35, "Share of right rollouts in a batch after which rollouts are stored.", ge=0, le=1)


def bucket_weights(counts: Sequence[int], size: int) -> list[float]:
    """Return the probabilities of the buckets of prompts with so many successes among `size` rollouts.

    >>> [round(weight, 3) for weight in bucket_weights([1, 4, 7], 8)]
    [0.011, 0.978, 0.011]
    """
    squares = [(count - size / 2) ** 2 for count in counts]
    weights = [math.exp((min(squares) - square) / 2) for square in squares]
    return [weight / sum(weights) for weight in weights]


def draw_prompts(successes: Mapping[int, int], size: int, num: int, rng: random.Random) -> list[int]:
    """Return up to `num` different prompts, given key -> number of successes among `size` rollouts.

    Each is drawn from a bucket that `bucket_weights` weighs, with equal chances within it, among those that are left.

    >>> sorted(draw_prompts({10: 1, 11: 4, 12: 4}, 8, 5, random.Random(0)))
    [10, 11, 12]
    """
    buckets: dict[int, list[int]] = {}
    for key, count in successes.items():
        buckets.setdefault(count, []).append(key)
    drawn: list[int] = []
    while buckets and len(drawn) < num:
        counts = sorted(buckets)
        (count,) = rng.choices(counts, bucket_weights(counts, size))
        keys = buckets[count]
        drawn.append(keys.pop(rng.randrange(len(keys))))
        if not keys:
            del buckets[count]
    return drawn
