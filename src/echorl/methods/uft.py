"""UFT: part of the solution as a hint, less and less of it, supervised on the hint and reinforced after it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.base import Method, check_number, check_positive, check_whole


@dataclass(frozen=True, kw_only=True)
class UFT(Method):
    """The first n of a solution's N chunks follow the prompt; GRPO acts on the continuation (arXiv 2505.16984).

    n ~ Binomial(N, p_t), p_t = low + (high - low) (1 + cos(pi t / hint_steps)) / 2 before step `hint_steps`, then no
    hint; the paper's 0.05 + 0.45 (1 + cos). The loss adds `hint_weight` times the mean NLL of the hints' tokens; the
    trainer's entropy bonus and KL, 0.001 each, act on the continuation. Evaluation has no hint.

    Args:
        max_chunks: N = min(max_chunks, number of steps of the solution).
        low, high: bounds of p_t.
        hint_steps: T_hint, in optimiser steps (the paper's 300 of 500); 0: no hints.
        hint_weight: of the NLL.

    Raises:
        ValueError: a value is out of range.
    """

    settings = MappingProxyType(
        {
            "loss_type": "grpo",
            "scale_rewards": "group",
            "epsilon": 0.2,
            "beta": 0.001,
            "use_bias_correction_kl": False,  # the authors' KL is k3 alone; TRL's default multiplies it by the ratio
            "entropy_coef": 0.001,
        }
    )
    part = "hint"

    max_chunks: int = 5
    low: float = 0.05
    high: float = 0.95
    hint_steps: int = 300
    hint_weight: float = 0.001

    def __post_init__(self) -> None:
        check_whole(1, max_chunks=self.max_chunks)
        check_whole(0, hint_steps=self.hint_steps)
        check_positive(hint_weight=self.hint_weight)
        check_number(low=self.low, high=self.high)
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"low={self.low} and high={self.high} are not allowed: 0 <= low <= high <= 1.")

    def hint_probability(self, step: int) -> float:
        """p_t at optimiser step t; 0 from `hint_steps` on.

        >>> [round(UFT().hint_probability(t), 3) for t in (0, 150, 299, 300)]
        [0.95, 0.5, 0.05, 0.0]
        """
        if step >= self.hint_steps:
            return 0.0
        return self.low + (self.high - self.low) * (1 + math.cos(math.pi * step / self.hint_steps)) / 2

    def num_hint_steps(self, num_steps: int, step: int, rng: random.Random) -> int:
        """How many of a solution's `num_steps` steps the hint holds at optimiser step `step`, drawn with `rng`.

        The N chunks are runs of steps, as equal as can be. No step: no hint.
        """
        num_chunks = min(self.max_chunks, num_steps)
        p = self.hint_probability(step)
        kept = sum(rng.random() < p for _ in range(num_chunks))
        return round(num_steps * kept / num_chunks) if num_chunks else 0
