"""What a method adds to the trainer: one class a way of adding, and one dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from echorl.trl.parts.base import Part
from echorl.trl.parts.dynamic_sampling import DynamicSampling
from echorl.trl.parts.failure_prefix import FailurePrefix
from echorl.trl.parts.hints import Hints
from echorl.trl.parts.memory import TrackedRate
from echorl.trl.parts.reinforce_ada import ReinforceAda
from echorl.trl.parts.traces import Traces

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

__all__ = ["PARTS", "Part", "make_part"]

PARTS: Mapping[str | None, type[Part]] = {
    None: Part,
    "trace": Traces,
    "hint": Hints,
    "dynamic_sampling": DynamicSampling,
    "reinforce_ada": ReinforceAda,
    "failure_prefix": FailurePrefix,
    "tracked_rate": TrackedRate,
}
"""`Method.part` -> its class."""


def make_part(trainer: EchoGRPOTrainer) -> Part:
    """The part that the trainer's method names."""
    return PARTS[trainer.method.part](trainer)
