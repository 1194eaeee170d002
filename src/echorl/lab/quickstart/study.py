"""What the quickstart compares, and with which settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import echorl
from echorl.models import POLICY

ARMS: Mapping[str, float] = {"grpo": 0.0, "echorl": 0.001}
"""Arm (and its folder) -> echo_coef; the paper's 0.001."""

LABELS: Mapping[str, str] = {"start": "before training", "grpo": "GRPO", "echorl": "GRPO + EchoRL"}

SPLITS: Mapping[str, str] = {"test": "in distribution", "harder": "harder"}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Settings that both arms share. The learning rate is the best of plain GRPO's grid (docs/quickstart.md)."""

    seed: int = 0
    num_steps: int = 240
    prompts_per_step: int = 8
    group_size: int = 8
    learning_rate: float = 1e-4
    test_prompts: int = 256
    samples_per_prompt: int = 8
    rollouts_every: int = 20

    def key(self, part: str, **more: Any) -> dict[str, Any]:
        """What must be equal for a stored result to be used again: settings, package version and the policy's bytes."""
        weights = (POLICY / "model.safetensors").read_bytes()
        policy = hashlib.sha256(weights).hexdigest()[:16]
        return {"part": part, "version": echorl.__version__, "policy": policy, "settings": asdict(self), **more}


TINY = Study(
    num_steps=4,
    prompts_per_step=4,
    group_size=4,
    test_prompts=16,
    samples_per_prompt=2,
    rollouts_every=1,
)
"""A run of seconds, for tests: too small to show anything."""
