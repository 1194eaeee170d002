"""Rollouts that stay in TRL's batch and leave its loss: out of the mask, out of every denominator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

MEAN_OVER_ROWS = ("grpo", "sapo", "dr_grpo", "luspo")
"""TRL's losses that divide by the number of rows, masked ones included; the others divide by tokens in the mask."""


def masked(rows: dict[str, Any]) -> dict[str, Any]:
    """The rows outside the policy loss, the entropy bonus, the KL and their denominators."""
    nothing = {
        key: torch.zeros_like(rows[key]) for key in ("tool_mask", "advantages", "echo_informative") if key in rows
    }
    return {**rows, **nothing}


def scale_to(batch: dict[str, Any], num_kept: int, num_rows: int, loss_type: str) -> None:
    """Take rows outside the mask out of the denominator of the losses that are means over rows."""
    if loss_type in MEAN_OVER_ROWS and 0 < num_kept < num_rows:
        batch["advantages"] = batch["advantages"] * (num_rows / num_kept)


def tokens_in_loss(trainer: EchoGRPOTrainer, batch: dict[str, Any]) -> Tensor:
    """0-dimensional, over all processes: what TRL's token means divide by."""
    return trainer.accelerator.gather((batch["completion_mask"] * batch["tool_mask"]).sum()).sum()


def leave_out(trainer: EchoGRPOTrainer, out: dict[str, Any], left_out: Tensor, own_rows: slice) -> None:
    """Exclude the rollouts `left_out`, bool [N] over all processes, from the loss of TRL's batch.

    Their EchoClips stay: the echo's term has weights and a denominator of its own.
    """
    num_left = int(left_out.sum())
    trainer.add_metric("left_out", num_left / len(left_out), family="method")
    if not num_left:
        return
    kept = ~left_out[own_rows]
    out.setdefault("tool_mask", torch.ones_like(out["completion_mask"]))
    for key, zeroed in masked(out).items():
        if zeroed is not out[key]:
            shape = (-1, *[1] * (zeroed.dim() - 1))
            out[key] = torch.where(kept.view(shape), out[key], zeroed)
    scale_to(out, len(left_out) - num_left, len(left_out), trainer.loss_type)
    out["num_items_in_batch"] = tokens_in_loss(trainer, out)


def log_advantages(trainer: EchoGRPOTrainer, advantages: Tensor) -> None:
    """Put the advantages used, [N] of all processes, in the place of those that TRL's log of completions has last."""
    logged = trainer._logs["advantages"]
    for _ in range(min(len(logged), len(advantages))):
        logged.pop()
    logged.extend(advantages.tolist())


def check_left_out(trainer: EchoGRPOTrainer) -> None:
    """Refuse a loss or a KL term whose denominator would count the excluded rollouts.

    Raises:
        ValueError: names the settings and the way out.
    """
    if not trainer.method.leaves_out:
        return
    if trainer.loss_type == "bnpo":
        raise ValueError(
            f"method={trainer.args.method!r} does not go with loss_type='bnpo', a mean over each micro-batch: "
            "micro-batches of excluded rollouts would still count. Use loss_type='dapo'."
        )
    if trainer.args.beta != 0.0 and trainer.loss_type in MEAN_OVER_ROWS:
        raise ValueError(
            f"method={trainer.args.method!r} does not go with beta={trainer.args.beta} and loss_type="
            f"{trainer.loss_type!r}, a mean over rows, whose KL would count the excluded rollouts: use "
            "loss_type='dapo', or beta 0."
        )
