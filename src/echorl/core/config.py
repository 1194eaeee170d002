"""`EchoConfig`: every setting of EchoRL, with the paper's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echorl.core.options import check_options, option

LARGEST = 10**12
"""Largest absolute value of a number."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Settings that determine the EchoClips of a batch of rollouts."""

    scope: Literal["verified", "degenerate"] = option(
        "verified", "Groups that are mined: 'verified', every group with a success; 'degenerate', all-success groups."
    )
    select: Literal["max_entropy", "min_entropy", "random", "full"] = option(
        "max_entropy",
        "The step that ends a clip: 'max_entropy' (EchoRL), or a control: 'min_entropy', 'random' (any step of any "
        "success), 'full' (a whole success that has an allowed step, chosen at random).",
    )
    clip_per: Literal["prompt", "rollout"] = option(
        "prompt", "One clip for each group ('prompt') or for each successful 'rollout'."
    )
    top_k: int = option(1, "Clips of a group (or a rollout); overlapping clips add their weights.", ge=1, le=10**7)
    min_step_tokens: int = option(
        1, "Steps with fewer tokens cannot end a clip; they still count in the prefix.", ge=1, le=10**7
    )
    entropy_quantile: float | None = option(
        None, "Only steps at or above this (running) quantile of step entropies can end a clip.", gt=0, lt=1
    )
    max_step_entropy: float | None = option(
        None,
        "In nats: a rollout with a step above this gives no clip: for right answers that end in gibberish.",
        gt=0,
        le=LARGEST,
    )
    success_reward: float = option(
        1.0, "A rollout succeeds when its verifier's reward is at least this.", ge=-LARGEST, le=LARGEST
    )
    seed: int = option(0, "Seed of the random choices of the controls.", ge=0, le=2**63 - 1)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class EchoConfig(ClipConfig):
    """Settings of EchoRL; the defaults are those of the paper (arXiv 2605.31228).

    Raises:
        ValueError: a value is out of range; the message names it and what is allowed.
    """

    coef: float = option(
        0.001,
        "lambda, the weight of the EchoClips' negative log-likelihood, in J = J_RLVR + lambda J_echo; 0 switches "
        "EchoRL off.",
        ge=0,
    )
    mine_only: bool = option(False, "Find EchoClips and log them, with any coefficient, and add nothing to the loss.")
    average_over: Literal["prompt", "clip"] = option(
        "prompt",
        "The divisor of the sum over clips: all prompts, with a clip or not ('prompt'), or the number of clips "
        "('clip'). Where an optimiser step takes several generation batches, their means are averaged.",
    )
    length_norm: Literal["clip", "constant"] = option(
        "clip", "A clip's tokens weigh 1/L ('clip') or 1/max_completion_length ('constant')."
    )
    max_completion_length: int | None = option(None, "The constant of length_norm='constant', in tokens.", ge=1)
    warmup_steps: int = option(
        0, "Optimiser steps over which lambda rises linearly from lambda/warmup_steps to lambda.", ge=0
    )
    without_policy_gradient: Literal["allow", "skip"] = option(
        "allow",
        "In an optimiser step in which every group is degenerate there is no policy gradient, and Adam undoes the "
        "coefficient: 'allow' it (the paper), or 'skip' EchoRL's part of that step.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length_norm == "constant" and self.max_completion_length is None:
            raise ValueError("length_norm='constant' needs max_completion_length: give the longest response in tokens.")

    @property
    def mines(self) -> bool:
        """True where EchoClips are mined."""
        return self.coef > 0 or self.mine_only

    @property
    def trains(self) -> bool:
        """True where EchoClips are part of the loss."""
        return self.coef > 0 and not self.mine_only

    def coef_at(self, step: int) -> float:
        """lambda at optimiser step `step` (0 is the first); 0 where clips are mined only.

        >>> [EchoConfig(coef=1.0, warmup_steps=4).coef_at(step) for step in (0, 1, 3, 9)]
        [0.25, 0.5, 1.0, 1.0]
        """
        if self.mine_only:
            return 0.0
        return self.coef * min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else self.coef
