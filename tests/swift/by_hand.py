"""EchoRL's gradient by hand: plain forwards, loops over groups, rollouts and steps."""

from __future__ import annotations

from typing import Any

import torch

from echorl import StepDelimiters, segment_steps


def plain(batches: list[dict[str, Any]]) -> list[tuple[torch.Tensor, ...]]:
    """(ids, attention mask, mask of the response's last tokens) of each micro-batch."""
    return [
        (
            batch["model_inputs"]["input_ids"],
            batch["model_inputs"]["attention_mask"],
            batch["grpo_batch"].completion_mask,
        )
        for batch in batches
    ]


def gradient(
    model: Any, micro_batches: list[tuple[torch.Tensor, ...]], size: int, delimiters: StepDelimiters, temperature: float
) -> dict[str, torch.Tensor]:
    """The gradient of the clips' mean negative log-likelihood, each group of `size` rollouts an all-success group."""
    rollouts = []  # (log-probs, entropies, steps) of each
    for ids, attention, mask in micro_batches:
        width = mask.shape[1]
        logits = model(input_ids=ids, attention_mask=attention).logits[:, -width - 1 : -1] / temperature
        logp = logits.log_softmax(-1)
        chosen = logp.gather(-1, ids[:, -width:].unsqueeze(-1)).squeeze(-1)
        entropy = -(logp.exp() * logp).sum(-1).detach()
        steps = segment_steps(ids[:, -width:], mask, delimiters)
        rollouts += list(zip(chosen, entropy, steps, strict=True))
    groups = [rollouts[first : first + size] for first in range(0, len(rollouts), size)]
    loss = sum(clip_nll(group) for group in groups) / len(groups)
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def clip_nll(group: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
    """The mean negative log-likelihood up to the end of the group's step of the largest mean entropy."""
    means = {
        (row, step): entropy[steps == step].mean().item()
        for row, (_, entropy, steps) in enumerate(group)
        for step in range(int(steps.max()) + 1)
    }
    row, step = max(means, key=means.get)
    logp, _, steps = group[row]
    return -logp[(steps >= 0) & (steps <= step)].mean()
