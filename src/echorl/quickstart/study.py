"""What the quickstart compares, with which settings, and how results are kept so that nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import echorl
from echorl.quickstart import POLICY

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
    gradient_norms_every: int = 5
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
    gradient_norms_every=1,
    rollouts_every=1,
)
"""A run of seconds, for tests: too small to show anything."""


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file or a kill left no whole object."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write in one move, so that a kill leaves the old file or the new one."""
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value) + "\n", encoding="utf-8")
    os.replace(scratch, path)


def stored(path: Path, key: Mapping[str, Any]) -> Any:
    """The value stored at `path` under the same key, else None."""
    found = read_json(path)
    return found.get("value") if found is not None and found.get("key") == key else None


def cached(path: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """The value stored at `path` under the same key, else what `make` gives, stored there. Values: JSON, not None."""
    value = stored(path, key)
    if value is None:
        value = make()
        write_json(path, {"key": dict(key), "value": value})
    return value
