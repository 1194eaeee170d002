"""`echo_without_policy_gradient`: steps with degenerate groups alone, in which Adam undoes the coefficient."""

from __future__ import annotations

from transformers import TrainerCallback

from echorl.core.optimizer_window import OptimizerWindow
from echorl.core.refusals import refuse_if
from echorl.trl.context import Context


def check_skip(context: Context) -> None:
    """Refuse `"skip"` where the step's gradient is not the echo's alone, or not accessible.

    Raises:
        ValueError: names the setting that excludes "skip".
    """
    config = context.args.echo_config()
    if config.without_policy_gradient != "skip" or not config.trains:
        return
    refuse_if(
        {
            "DeepSpeed, which steps inside backward": "deepspeed" in context.features,
            **{f"{name}, whose gradient would be touched too": holds for name, holds in other_terms(context).items()},
        },
        "echo_without_policy_gradient='skip' cannot be combined with {}: use 'allow', or turn that off.",
    )


def other_terms(context: Context) -> dict[str, bool]:
    """Return the terms of the loss beside the policy's and the echo's, and whether the run has them."""
    args = context.args
    return {
        f"beta={args.beta}, a KL term": args.beta != 0.0,
        "an entropy bonus": args.entropy_coef != 0.0 or args.use_adaptive_entropy,
        "a router loss": "router_loss" in context.features,
    }


class SkipCallback(TrainerCallback):
    """Zeroes the gradient of a step without policy gradient, just before the optimiser's step.

    The optimiser then makes the base trainer's step (momentum, weight decay) and nothing else. Advantages of equal
    rewards that differ from 0 by rounding have no effect either.

    Args:
        window: the sums of the optimiser step.
    """

    def __init__(self, window: OptimizerWindow) -> None:
        self.window = window

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):  # type: ignore[no-untyped-def]
        if not self.window.without_policy_gradient:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.zero_()
