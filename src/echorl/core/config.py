"""`EchoConfig`: every setting of EchoRL, with the paper's values as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass

CHOICES = {
    "scope": ("verified", "degenerate"),
    "select": ("max_entropy", "min_entropy", "random", "full"),
    "clip_per": ("prompt", "rollout"),
    "average_over": ("prompt", "clip"),
    "length_norm": ("clip", "constant"),
    "without_policy_gradient": ("allow", "skip"),
}


@dataclass(frozen=True, kw_only=True)
class EchoConfig:
    """Settings of EchoRL; the defaults are those of the paper (arXiv 2605.31228).

    Args:
        coef: lambda in J = J_RLVR + lambda J_echo. 0 switches EchoRL off.
        mine_only: find EchoClips and log them, at any `coef`, and add nothing to the loss.
        scope: `"verified"` mines every group with a success, `"degenerate"` only groups whose rollouts all succeed.
        select: the step that ends the clip. `"max_entropy"` is EchoRL; the others are controls: `"min_entropy"`,
            `"random"` (any step of any success), `"full"` (a whole success that has an allowed step, chosen at random).
        clip_per: `"prompt"` gives one clip a group, `"rollout"` one for each successful rollout.
        average_over: what the sum over clips is divided by: `"prompt"` (all prompts, with a clip or not) or `"clip"`.
            Where an optimiser step takes several generation batches, the mean of their means.
        length_norm: a clip's tokens weigh `"clip"` = 1/L or `"constant"` = 1/`max_completion_length`.
        max_completion_length: the constant of `length_norm="constant"`, in tokens.
        top_k: clips a group (or a rollout); overlapping clips add their weights.
        min_step_tokens: steps with fewer tokens cannot end a clip; they still count in the prefix.
        entropy_quantile: in (0, 1): only steps at or above this (running) quantile of step entropies can end a clip.
        max_step_entropy: in nats: a rollout with a step above this gives no clip. Against right answers that go on as
            gibberish, of which a calmer step is no better than the wildest.
        warmup_steps: optimiser steps over which lambda rises linearly from lambda/warmup_steps to lambda.
        success_reward: a rollout succeeds when its verifier's reward is at least this.
        without_policy_gradient: an optimiser step in which every group is degenerate has no policy gradient, and Adam
            undoes the coefficient there: `"allow"` it (the paper), or `"skip"` EchoRL's part of that step.
        seed: of the random choices.

    Raises:
        ValueError: a value is out of range; the message names it and what is allowed.
    """

    coef: float = 0.001
    mine_only: bool = False
    scope: str = "verified"
    select: str = "max_entropy"
    clip_per: str = "prompt"
    average_over: str = "prompt"
    length_norm: str = "clip"
    max_completion_length: int | None = None
    top_k: int = 1
    min_step_tokens: int = 1
    entropy_quantile: float | None = None
    max_step_entropy: float | None = None
    warmup_steps: int = 0
    success_reward: float = 1.0
    without_policy_gradient: str = "allow"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            _check(getattr(self, name) in allowed, name, getattr(self, name), f"one of {', '.join(map(repr, allowed))}")
        _check(_is_number(self.coef) and self.coef >= 0, "coef", self.coef, "a finite number of at least 0")
        _check(isinstance(self.mine_only, bool), "mine_only", self.mine_only, "true or false")
        _check(_is_number(self.success_reward), "success_reward", self.success_reward, "a finite number")
        for name, least in (("top_k", 1), ("min_step_tokens", 1), ("warmup_steps", 0), ("seed", 0)):
            value = getattr(self, name)
            _check(_is_whole(value) and value >= least, name, value, f"a whole number of at least {least}")
        q = self.entropy_quantile
        _check(q is None or (_is_number(q) and 0 < q < 1), "entropy_quantile", q, "None or a number between 0 and 1")
        most = self.max_step_entropy
        _check(most is None or (_is_number(most) and most > 0), "max_step_entropy", most, "None or a positive number")
        length = self.max_completion_length
        _check(
            length is None or (_is_whole(length) and length > 0), "max_completion_length", length, "None or positive"
        )
        if self.length_norm == "constant" and length is None:
            raise ValueError("length_norm='constant' needs max_completion_length: give the longest response in tokens.")

    @property
    def mines(self) -> bool:
        """Whether EchoClips are looked for."""
        return self.coef > 0 or self.mine_only

    @property
    def trains(self) -> bool:
        """Whether EchoClips have a part in the loss."""
        return self.coef > 0 and not self.mine_only

    def coef_at(self, step: int) -> float:
        """lambda at optimiser step `step` (0 is the first); 0 where clips are mined only.

        >>> [EchoConfig(coef=1.0, warmup_steps=4).coef_at(step) for step in (0, 1, 3, 9)]
        [0.25, 0.5, 1.0, 1.0]
        """
        if self.mine_only:
            return 0.0
        return self.coef * min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else self.coef


def _check(ok: bool, name: str, value: object, allowed: str) -> None:
    if not ok:
        raise ValueError(f"{name}={value!r} is not allowed: it must be {allowed}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
