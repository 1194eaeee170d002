"""The plan of a resumed run: whether it goes on with its checkpoint's generation batch, by the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from echorl.methods.base import NO_FILE

BATCHING = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "steps_per_generation",
    "num_iterations",
    "num_processes",
)
"""Settings that determine the next micro-batch and its generation batch."""

SWITCHES = ("echo_coef", "echo_mine_only", "beta", "vllm_importance_sampling_correction")
"""Settings that make the loss read further tensors of the generation batch, if they are on (not 0 or False)."""

_NEW_BATCH = "a new generation batch begins, and the rest of the last one is not trained on"


@dataclass(frozen=True)
class ResumeSettings:
    """The settings that decide how a run can be resumed, mostly under their names in `EchoGRPOConfig`.

    Attributes:
        method_hash: `Method.source_hash`, "" of a method of echorl's.
        has_memory: whether the method remembers something beyond a generation batch (prompts, a stream's place, ...).
        vllm_importance_sampling_correction: whether it is on and vLLM is used.
    """

    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    steps_per_generation: int
    num_iterations: int
    num_processes: int
    method: str | None
    has_memory: bool
    echo_coef: float
    beta: float
    vllm_importance_sampling_correction: bool
    echo_mine_only: bool = False
    method_hash: str = ""
    method_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def micro_steps(self) -> int:
        """Micro-steps of a generation batch: all passes over all of its micro-batches."""
        return self.steps_per_generation * self.num_iterations


@dataclass(frozen=True)
class ResumePlan:
    """The beginning of a resumed run.

    Attributes:
        action: "go_on" with the checkpoint's generation batch (or after it, where it was complete), begin a
            "new_batch", or "refuse".
        step: TRL's count of micro-steps (`GRPOTrainer._step`) to begin with.
        sentence: why the run cannot resume, or why the rest of a batch is not trained on; else empty.
    """

    action: Literal["go_on", "new_batch", "refuse"]
    step: int
    sentence: str = ""


def resume_plan(old: ResumeSettings, new: ResumeSettings, step: int) -> ResumePlan:
    """Return how a run with settings `new` resumes from a checkpoint that `old` wrote after `step` micro-steps.

    A checkpoint is written at the end of an optimiser step, where a new generation batch can begin, as in TRL at every
    resume.
    """
    if old.has_memory and old.method != new.method:
        sentence = (
            f"it holds the memory of method={old.method!r}, which method={new.method!r} cannot use; resume with "
            f"method={old.method!r}, or start a new run from the checkpoint's weights."
        )
        return ResumePlan("refuse", step, sentence)
    if old.method == new.method and (old.method_hash != new.method_hash or new.method_hash == NO_FILE):
        return ResumePlan("refuse", step, _edited_method(new))
    remaining = -step % old.micro_steps
    changes = _changes(old, new, within=remaining > 0)
    if not changes:
        return ResumePlan("go_on", step)
    reason = f"{', '.join(changes)}: {_NEW_BATCH} ({remaining} of {old.micro_steps} micro-steps)."
    # The next count of micro-steps at which TRL samples and an optimiser step begins.
    unit = math.lcm(new.micro_steps, new.gradient_accumulation_steps)
    return ResumePlan("new_batch", step + -step % unit, reason if remaining else "")


def _changes(old: ResumeSettings, new: ResumeSettings, *, within: bool) -> list[str]:
    """Return the changes that end the checkpoint's generation batch, each as "name is NEW and was OLD"."""
    names = [name for name in BATCHING if getattr(old, name) != getattr(new, name)]
    if within:
        names += ["method"] if old.method != new.method else []
        names += ["method_options"] if old.method == new.method and old.method_options != new.method_options else []
        names += [name for name in SWITCHES if getattr(new, name) and not getattr(old, name)]
    return [f"{name} is {getattr(new, name)!r} and was {getattr(old, name)!r}" for name in names]


def _edited_method(new: ResumeSettings) -> str:
    """Return the error sentence for a checkpoint of a user's method whose file was edited or does not exist."""
    start = "start a new run from the checkpoint's weights"
    if new.method_hash == NO_FILE:
        return f"method={new.method!r} has no file to compare with the checkpoint's: {start}, and put it into a file."
    return f"the file of method={new.method!r} was edited since the checkpoint: {start}, or undo the edit."
