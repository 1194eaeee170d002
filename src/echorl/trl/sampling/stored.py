"""Rollouts that are kept for later batches, and their entropies under the present policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from echorl.trl.context import Context


@dataclass(frozen=True)
class Text:
    """A prompt's tokens and a rollout's."""

    prompt: list[int]
    ids: list[int]


def mean_entropies(texts: list[Text], context: Context) -> list[float]:
    """Return the mean entropy of each rollout's tokens; the texts are the same on every process, which share the work.

    Forwards without gradient of a micro-batch each, equally many on every process (else FSDP and ZeRO-3 hang): missing
    texts are one token long.
    """
    comm, pad, size = context.comm, context.tokenizer.pad_token_id, context.args.per_device_train_batch_size
    total = -(-len(texts) // (size * comm.num_ranks)) * size * comm.num_ranks
    padded = texts + [Text([pad], [pad])] * (total - len(texts))
    share = padded[comm.rank * total // comm.num_ranks :][: total // comm.num_ranks]
    chunks = [share[first : first + size] for first in range(0, len(share), size)]
    return comm.gather_objects([mean for chunk in chunks for mean in _forward(chunk, context)])[: len(texts)]


def _forward(texts: list[Text], context: Context) -> list[float]:
    prompts, prompt_mask = _pad([text.prompt for text in texts], "left", context)
    ids, mask = _pad([text.ids for text in texts], "right", context)
    with torch.no_grad():
        scored = context.policy.score(torch.cat([prompts, ids], 1), torch.cat([prompt_mask, mask], 1), ids.shape[1])
    return ((scored[1].float() * mask).sum(1) / mask.sum(1)).tolist()


def _pad(rows: list[list[int]], side: str, context: Context) -> tuple[Tensor, Tensor]:
    """Return ids and mask, int64 [rows, longest]."""
    device, pad = context.comm.device, context.tokenizer.pad_token_id
    options: Any = {"batch_first": True, "padding_side": side}
    tensors = [torch.tensor(row, device=device) for row in rows]
    ids = pad_sequence(tensors, padding_value=pad, **options)
    return ids, pad_sequence([torch.ones_like(row) for row in tensors], padding_value=0, **options)
