"""UFT: part of the solution as a hint, less and less of it, supervised on the hint and reinforced after it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from types import MappingProxyType

from echorl.core.options import option
from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("uft")
@dataclass(frozen=True, kw_only=True)
class UFT(Method):
    """The first n of a solution's N chunks follow the prompt; GRPO acts on the continuation (arXiv 2505.16984).

    n ~ Binomial(N, p_t), p_t = low + (high - low) (1 + cos(pi t / hint_steps)) / 2 before step `hint_steps`, then no
    hint; the paper's 0.05 + 0.45 (1 + cos). The loss adds `hint_weight` times the mean NLL of the hints' tokens; the
    trainer's entropy bonus and KL, 0.001 each, act on the continuation. Evaluation has no hint.
    """

    addresses = MappingProxyType({"all_fail": "begins with a part of the demonstration"})
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
    trl_hooks = "echorl.trl.methods.uft:HintHooks"

    max_chunks: int = option(5, "N = min(max_chunks, number of steps of the solution).", ge=1)
    low: float = option(0.05, "Lower bound of p_t.", ge=0, le=1)
    high: float = option(0.95, "Upper bound of p_t.", ge=0, le=1)
    hint_steps: int = option(300, "T_hint, in optimiser steps (the paper's 300 of 500); 0: no hints.", ge=0)
    hint_weight: float = option(0.001, "Weight of the NLL of the hints' tokens.", gt=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high:
            raise ValueError(f"low={self.low} and high={self.high} are not allowed: low must be at most high.")

    def hint_probability(self, step: int) -> float:
        """Return p_t at optimiser step t; 0 from `hint_steps` on.

        >>> [round(UFT().hint_probability(t), 3) for t in (0, 150, 299, 300)]
        [0.95, 0.5, 0.05, 0.0]
        """
        if step >= self.hint_steps:
            return 0.0
        return self.low + (self.high - self.low) * (1 + math.cos(math.pi * step / self.hint_steps)) / 2

    def num_hint_steps(self, num_steps: int, step: int, rng: random.Random) -> int:
        """Return how many of a solution's `num_steps` steps the hint holds at optimiser step `step`, drawn with `rng`.

        The N chunks are runs of steps, as equal as can be. No step: no hint.
        """
        num_chunks = min(self.max_chunks, num_steps)
        p = self.hint_probability(step)
        kept = sum(rng.random() < p for _ in range(num_chunks))
        return round(num_steps * kept / num_chunks) if num_chunks else 0
