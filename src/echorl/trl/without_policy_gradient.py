"""`echo_without_policy_gradient`: steps whose every group is degenerate, where Adam undoes the coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import TrainerCallback

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def check_skip(trainer: EchoGRPOTrainer) -> None:
    """Refuse `"skip"` where the step's gradient is not the echo's alone, or cannot be reached.

    Raises:
        ValueError: names the setting that stands in the way.
    """
    if trainer.echo.without_policy_gradient != "skip" or not trainer.echo.trains:
        return
    obstacles = {
        "DeepSpeed, which steps inside backward": trainer.is_deepspeed_enabled,
        **{f"{name}, whose gradient would be touched too": there for name, there in _other_terms(trainer).items()},
    }
    for obstacle, present in obstacles.items():
        if present:
            raise ValueError(
                f"echo_without_policy_gradient='skip' cannot be combined with {obstacle}: use 'allow', or turn it off."
            )


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


class SkipCallback(TrainerCallback):
    """Zeroes the gradient of a step without policy gradient, just before the optimiser's step.

    The optimiser then makes the base trainer's step (momentum, weight decay) and no other; not even what the base makes
    of equal rewards whose advantages differ from 0 by rounding.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if not self.trainer.window_is_alone:
            return
        for group in self.trainer.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.zero_()
