"""Rollouts that are kept for later batches, and their scores under the present policy."""

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


@dataclass(frozen=True)
class Score:
    """A rollout under the present policy: its log-probs, and its mean entropy."""

    logps: list[float]
    entropy: float


def score_shared(texts: list[Text], context: Context) -> list[Score]:
    """Return the scores of texts that are the same on every process, which share the work."""
    comm = context.comm
    numbers = range(comm.rank, len(texts), comm.num_ranks)
    scores = score_texts([texts[number] for number in numbers], context)
    pairs = comm.gather_objects(list(zip(numbers, scores, strict=True)))
    return [score for _, score in sorted(pairs, key=lambda pair: pair[0])]


def score_texts(texts: list[Text], context: Context) -> list[Score]:
    """Return the scores of this process's texts, in forwards without gradient of a micro-batch each.

    Every process makes the same number of forwards (else FSDP and ZeRO-3 hang): missing texts are one token long.
    """
    size, pad = context.args.per_device_train_batch_size, context.tokenizer.pad_token_id
    most = int(context.comm.gather(torch.tensor([len(texts)], device=context.comm.device)).max())
    padded = texts + [Text([pad], [pad])] * (-(-most // size) * size - len(texts))
    scores = [
        score for first in range(0, len(padded), size) for score in _forward(padded[first : first + size], context)
    ]
    return scores[: len(texts)]


def _forward(texts: list[Text], context: Context) -> list[Score]:
    prompts, prompt_mask = _pad([text.prompt for text in texts], "left", context)
    ids, mask = _pad([text.ids for text in texts], "right", context)
    with torch.no_grad():
        logps, entropies = context.score(torch.cat([prompts, ids], 1), torch.cat([prompt_mask, mask], 1), ids.shape[1])
    means = (entropies.float() * mask).sum(1) / mask.sum(1)
    rows = zip(texts, logps.float().tolist(), means.tolist(), strict=True)
    return [Score(values[: len(text.ids)], mean) for text, values, mean in rows]


def _pad(rows: list[list[int]], side: str, context: Context) -> tuple[Tensor, Tensor]:
    """Return ids and mask, int64 [rows, longest]."""
    device, pad = context.comm.device, context.tokenizer.pad_token_id
    options: Any = {"batch_first": True, "padding_side": side}
    tensors = [torch.tensor(row, device=device) for row in rows]
    ids = pad_sequence(tensors, padding_value=pad, **options)
    return ids, pad_sequence([torch.ones_like(row) for row in tensors], padding_value=0, **options)
