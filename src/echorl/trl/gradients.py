"""The gradient norms of the policy term and of the echo term, measured on demand: it costs a backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from echorl.core.entropy import wide_dtype

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def check_gradient_norms(trainer: EchoGRPOTrainer) -> None:
    """Refuse the measurement where no process sees whole, unscaled gradients of one term.

    Raises:
        ValueError: names the setting that stands in the way.
    """
    if not trainer.args.echo_gradient_norms_every:
        return
    obstacles = {
        "DeepSpeed": trainer.is_deepspeed_enabled,
        "FSDP": trainer.is_fsdp_enabled,
        "fp16": trainer.args.fp16,
        "reentrant gradient checkpointing": trainer.args.gradient_checkpointing
        and bool((trainer.args.gradient_checkpointing_kwargs or {}).get("use_reentrant")),
    }
    for obstacle, present in obstacles.items():
        if present:
            raise ValueError(f"echo_gradient_norms_every cannot be measured under {obstacle}: set it to 0.")


def is_due(trainer: EchoGRPOTrainer) -> bool:
    """Whether this optimiser step's norms are to be measured."""
    every = trainer.args.echo_gradient_norms_every
    return bool(every) and trainer.state.global_step % every == 0


def gradients_of(trainer: EchoGRPOTrainer, term: Tensor) -> list[Tensor]:
    """The gradient of `term` alone, one tensor a trained parameter; the graph stays for the real backward."""
    parameters = _trained(trainer)
    grads = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g.detach() for p, g in zip(parameters, grads, strict=True)]


def log_norms(trainer: EchoGRPOTrainer, echo_grads: list[Tensor]) -> None:
    """Log both norms: the policy's is that of the whole gradient less the echo's, averaged over processes as it is."""
    echo_grads = [trainer.accelerator.reduce(g, reduction="mean") for g in echo_grads]
    whole = [torch.zeros_like(p) if p.grad is None else p.grad for p in _trained(trainer)]
    echo = _norm(echo_grads)
    policy = _norm([w - g for w, g in zip(whole, echo_grads, strict=True)])
    trainer.add_metric("grad_norm_echo", echo)
    trainer.add_metric("grad_norm_policy", policy)
    if echo + policy:
        trainer.add_metric("grad_share_echo", echo / (echo + policy))


def _trained(trainer: EchoGRPOTrainer) -> list[torch.nn.Parameter]:
    return [p for p in trainer.model.parameters() if p.requires_grad]


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([t.to(wide_dtype(t.device)).square().sum() for t in tensors]).sum().sqrt())
