"""`when_alone`: what an optimiser step does whose every group is degenerate, where Adam undoes the coefficient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from transformers import TrainerCallback

from echorl.core.entropy import wide_dtype

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def check_when_alone(trainer: EchoGRPOTrainer) -> None:
    """Refuse `"scale"` and `"skip"` where the step's gradient is not the echo's alone, or cannot be reached.

    Raises:
        ValueError: names the setting that stands in the way.
    """
    mode, args = trainer.echo.when_alone, trainer.args
    if mode == "allow":
        return
    obstacles = {
        "DeepSpeed, which steps inside backward": trainer.is_deepspeed_enabled,
        **{f"{name}, whose gradient would be touched too": there for name, there in _other_terms(trainer).items()},
        "FSDP, where no process holds the whole gradient": mode == "scale" and trainer.is_fsdp_enabled,
        "fp16, whose gradients can overflow": mode == "scale" and args.fp16,
    }
    for obstacle, present in obstacles.items():
        if present:
            raise ValueError(f"echo_when_alone={mode!r} cannot be kept with {obstacle}: use 'allow' or drop that.")


def other_gradients(trainer: EchoGRPOTrainer) -> bool:
    """Whether a step has a gradient beside the policy's and the echo's: none is then the echo's alone."""
    return any(_other_terms(trainer).values())


def _other_terms(trainer: EchoGRPOTrainer) -> dict[str, bool]:
    args = trainer.args
    return {
        f"beta={args.beta}, a KL term": args.beta != 0.0,
        "an entropy bonus": args.entropy_coef != 0.0 or args.use_adaptive_entropy,
        "a router loss": trainer.aux_loss_enabled,
    }


class AloneCallback(TrainerCallback):
    """Acts just before the optimiser's step, where the gradient of a step without policy gradient is the echo's alone.

    `"skip"` zeroes it: the optimiser then makes the base trainer's step (momentum, weight decay) and no other; not even
    what the base makes of equal rewards whose advantages differ from 0 by rounding.
    `"scale"` does the same after moving the weights itself by -lr * lambda * g / rms(g): lambda times the size of a
    full adaptive step, whatever the moments are. SGD keeps the coefficient by itself: there `"scale"` changes nothing.
    A step without a clip has no gradient but such rounding, which must not be scaled up: there both are the same.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        trainer = self.trainer
        if not trainer.window_is_alone:
            return
        optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
        if trainer.echo.when_alone == "scale" and trainer.window.had_echo:
            if isinstance(optimizer, torch.optim.SGD):
                return
            _step_by(optimizer, trainer.echo.coef_at(state.global_step))
        for parameter in _with_grad(optimizer):
            parameter.grad.zero_()


def _with_grad(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


@torch.no_grad()
def _step_by(optimizer: torch.optim.Optimizer, size: float) -> None:
    """Move every parameter by -lr * size * grad / rms(grad), the rms taken over all parameters."""
    parameters = _with_grad(optimizer)
    square = sum(float(p.grad.to(wide_dtype(p.device)).square().sum()) for p in parameters)
    count = sum(p.grad.numel() for p in parameters)
    if square == 0.0 or not math.isfinite(square):
        return
    rms = (square / count) ** 0.5
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.add_(parameter.grad, alpha=-group["lr"] * size / rms)
