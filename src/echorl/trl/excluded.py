"""Exclusion of rollouts in TRL's batch from its loss: from the mask and from every denominator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from echorl.core.communication import Communication
from echorl.core.refusals import refuse_if
from echorl.methods import Method
from echorl.trl.context import Context

MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""TRL's losses that divide by the number of rows, masked ones included; the others divide by tokens in the mask."""


def masked(rows: dict[str, Any]) -> dict[str, Any]:
    """Return the rows without part in the policy loss, the entropy bonus, the KL and their denominators."""
    zeros: dict[str, Any] = {
        key: torch.zeros_like(rows[key]) for key in ("tool_mask", "advantages", "echo_has_gradient") if key in rows
    }
    return {**rows, **zeros}


def scale_to(batch: dict[str, Any], num_kept: int, num_rows: int, loss_type: str) -> None:
    """Remove rows outside the mask from the denominator of the losses that are means over rows."""
    if loss_type in MEAN_OVER_ROWS and 0 < num_kept < num_rows:
        batch["advantages"] = batch["advantages"] * (num_rows / num_kept)


def count_tokens(batch: dict[str, Any], comm: Communication) -> Tensor:
    """Return the 0-dimensional count that TRL's token means divide by, over all processes."""
    return comm.gather((batch["completion_mask"] * batch["tool_mask"]).sum()).sum()


def exclude(out: dict[str, Any], excluded: Tensor, local: slice, context: Context) -> None:
    """Exclude rollouts, bool [N] over all processes, from the loss of TRL's batch.

    Their EchoClips stay, since the echo's term has weights and a denominator of its own.
    """
    num = int(excluded.sum())
    context.log.update({"method/excluded": num / len(excluded)})
    if not num:
        return
    kept = ~excluded[local]
    out.setdefault("tool_mask", torch.ones_like(out["completion_mask"]))
    for key, zeroed in masked(out).items():
        if zeroed is not out[key]:
            shape = (-1, *[1] * (zeroed.dim() - 1))
            out[key] = torch.where(kept.view(shape), out[key], zeroed)
    scale_to(out, len(excluded) - num, len(excluded), context.args.loss_type)
    out["num_items_in_batch"] = count_tokens(out, context.comm)


@contextmanager
def bonus_over_batch(
    grpo: Any, metrics: dict[str, list[Any]], inputs: dict[str, Any], context: Context
) -> Iterator[None]:
    """Make TRL's entropy bonus the mean over the batch's tokens in the loss.

    TRL's is the mean over a micro-batch, in which a micro-batch of excluded rollouts counts as much as any other.

    Args:
        grpo: holds TRL's coefficient, which the loss reads.
        metrics: TRL's, to which the loss adds the coefficient once an optimiser step.
    """
    coef, num_logged = grpo.entropy_coef, len(metrics.get("entropy_coef", ()))
    num_micro_batches = context.comm.num_ranks * context.args.steps_per_generation
    mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
    grpo.entropy_coef = coef * float(mask.sum() * num_micro_batches / inputs["num_items_in_batch"].clamp(min=1.0))
    try:
        yield
    finally:
        grpo.entropy_coef = coef
    if len(metrics.get("entropy_coef", ())) > num_logged:
        metrics["entropy_coef"][-1] = coef


def check_adaptive(args: Any, excludes: bool) -> None:
    """Refuse TRL's adaptive entropy bonus beside excluded rollouts, since it moves the coefficient within the loss.

    Raises:
        ValueError: names the settings and the way out.
    """
    refuse_if(
        {"use_adaptive_entropy=True: set entropy_coef instead": excludes and args.use_adaptive_entropy},
        f"method={args.method!r} keeps rollouts out of the loss, which cannot be combined with {{}}.",
    )


def check_excluded(args: Any, method: Method) -> None:
    """Refuse a loss, a bonus or a KL term whose denominator would count the excluded rollouts.

    Raises:
        ValueError: names the settings and the way out.
    """
    refuse_if(
        {
            "loss_type='bnpo', a mean over each micro-batch: micro-batches of excluded rollouts would still count. Use "
            "loss_type='dapo'": method.excludes and args.loss_type == "bnpo",
            f"beta={args.beta} and loss_type={args.loss_type!r}, a mean over rows, whose KL would count the excluded "
            "rollouts: use loss_type='dapo', or beta 0": (
                method.excludes and args.beta != 0.0 and args.loss_type in MEAN_OVER_ROWS
            ),
        },
        f"method={args.method!r} cannot be combined with {{}}.",
    )
