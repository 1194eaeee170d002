"""Holding optimiser steps: gradients are kept and added up; optimisers pass over parameters that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from echorl.methods.base import Batch
from echorl.trl.parts.base import Part

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


class HoldStep(Part):
    """Counts groups with a policy gradient, and holds the steps until there are enough.

    A held step counts in `global_step` and in the learning rate's schedule; the last step of a run is never held.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        check_settings(trainer)
        self.groups = 0
        self.num_held = 0
        self.gradients: list[Tensor | None] = []  # their sum, a parameter of the optimiser each
        trainer.add_callback(HoldCallback(self))

    def judged(self, advantages: Tensor, batch: Batch) -> Tensor:
        self.groups += int((~batch.kinds.degenerate).sum())
        return advantages

    def before_step(self, parameters: list[torch.nn.Parameter], *, last: bool) -> None:
        """Keep the gradients instead of stepping, or give the optimiser the mean of all that were kept and this one."""
        method = self.trainer.method
        held = self.groups < method.groups and self.num_held < method.max_held and not last
        self.trainer.add_metric("held", float(held), family="method")
        total = [_add(kept, p.grad) for kept, p in zip(self._kept(parameters), parameters, strict=True)]
        if held:
            self.gradients, self.num_held = total, self.num_held + 1
            for parameter in parameters:
                parameter.grad = None
            return
        if self.num_held:
            for parameter, gradient in zip(parameters, total, strict=True):
                parameter.grad = None if gradient is None else gradient / (self.num_held + 1)
        self.groups, self.num_held, self.gradients = 0, 0, []

    def _kept(self, parameters: list[torch.nn.Parameter]) -> list[Tensor | None]:
        return self.gradients or [None] * len(parameters)

    def state_dict(self) -> dict[str, Any]:
        return {"groups": self.groups, "num_held": self.num_held, "gradients": self.gradients}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.groups, self.num_held = state.get("groups", 0), state.get("num_held", 0)
        self.gradients = state.get("gradients", [])


def _add(kept: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if kept is None or gradient is None:
        return gradient if kept is None else kept
    return kept.to(gradient) + gradient


class HoldCallback(TrainerCallback):
    """Acts just before the optimiser's step, after the gradient's norm was clipped."""

    def __init__(self, part: HoldStep) -> None:
        self.part = part

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        groups = self.part.trainer.optimizer.param_groups
        last = state.global_step + 1 >= state.max_steps
        self.part.before_step([p for group in groups for p in group["params"]], last=last)


def check_settings(trainer: EchoGRPOTrainer) -> None:
    """Refuse what steps elsewhere, or on a part of a generation batch.

    Raises:
        ValueError: names the setting that stands in the way.
    """
    args = trainer.args
    whole = args.gradient_accumulation_steps % (args.steps_per_generation * trainer.num_iterations) == 0
    obstacles = {
        "DeepSpeed, which steps inside backward": trainer.is_deepspeed_enabled,
        "FSDP, where no process holds whole gradients": trainer.is_fsdp_enabled,
        "fp16, whose scaler wants a gradient at every step": args.fp16,
        "optimiser steps on a part of a generation batch (gradient_accumulation_steps must be a multiple of "
        "steps_per_generation x num_iterations)": not whole,
        f"echo_without_policy_gradient={trainer.echo.without_policy_gradient!r}, for single steps (use 'allow')": (
            trainer.echo.coef > 0 and trainer.echo.without_policy_gradient != "allow"
        ),
    }
    for obstacle, present in obstacles.items():
        if present:
            raise ValueError(f"method='hold_step' does not go with {obstacle}.")
