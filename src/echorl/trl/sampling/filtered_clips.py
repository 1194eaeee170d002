"""EchoClips of rollouts that have no place in the batch: an additional short forward, spread over the micro-batches.

They are no rows of TRL's batch: its shuffle, normalisers, entropy bonus and metrics do not see them, so that the
policy's part of a step is the same as without EchoRL, bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from echorl.trl.images import IMAGES, TYPES, image_inputs
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.rows import Rows, batch_of, num_rows, select

FILTERED = "echo_filtered"
"""Key of a micro-batch's share: ids and mask of prompt and completion, weights of the completion, and images."""


def make_shares(rows: Rows, clips: Tensor, count: int, num_micro_batches: int) -> list[dict[str, Any] | None]:
    """Return one entry a micro-batch, None where it has no row.

    `clips` are this process's rows that hold a clip. They are padded with rows without weight to `count`, the largest
    number on any process, so that all processes make the same forwards (else FSDP and ZeRO-3 hang).
    """
    dummies = torch.zeros(count - len(clips), dtype=torch.int64, device=clips.device)
    chosen = select(rows, torch.cat([clips, dummies]))
    chosen["echo_weights"][len(clips) :] = 0.0
    places = torch.arange(count, device=clips.device) * num_micro_batches // max(1, count)
    shares = [(places == number).nonzero().flatten() for number in range(num_micro_batches)]
    return [_cut(select(chosen, share)) if len(share) else None for share in shares]


def _cut(rows: Rows) -> dict[str, Any]:
    """Return prompt and completion up to the end of the longest clip."""
    weights = rows["echo_weights"]
    places = torch.arange(1, weights.shape[1] + 1, device=weights.device)
    width = max(1, int((places * (weights != 0)).max()))
    short = batch_of({**rows, "completion_ids": rows["completion_ids"][:, :width]})
    return {
        "ids": torch.cat([rows["prompt_ids"], short["completion_ids"]], 1),
        "mask": torch.cat([rows["prompt_mask"], rows["completion_mask"][:, :width]], 1),
        "weights": weights[:, :width].contiguous(),
        "images": {key: short[key] for key in (*IMAGES, *TYPES) if key in short},
    }


class FilteredClips:
    """The micro-batches' shares of one generation batch, until TRL has split it."""

    def __init__(self) -> None:
        self.shares: list[dict[str, Any] | None] = []

    def weights(self, batch: dict[str, Any]) -> Tensor:
        """Return all weights that the loss will see of a generation batch, flat."""
        shares = [share["weights"].flatten() for share in self.shares if share is not None]
        return torch.cat([batch["echo_weights"].flatten(), *shares])

    def distribute(self, micro_batches: list[dict[str, Any]]) -> None:
        """Give each micro-batch, shuffled and split by TRL, its share."""
        for share, batch in zip(self.shares, micro_batches, strict=False):
            if share is not None:
                batch[FILTERED] = share
        self.shares = []


def filtered_logps(micro_batch: MicroBatch, score: Callable[..., Tensor]) -> Tensor:
    """Return the log-probs, with graph, of the micro-batch's share.

    More rows than a micro-batch run in chunks of its size, which are computed again in the backward pass: so the
    activations of one chunk at most are kept beside the policy's, however many clips there are.
    """
    share, context = micro_batch.inputs[FILTERED], micro_batch.context
    ids, mask, width = share["ids"], share["mask"], share["weights"].shape[1]
    sharded = context.features & {"fsdp", "deepspeed"}  # a forward gathers weights, which backward cannot do
    size = len(ids) if sharded else context.args.per_device_train_batch_size
    chunks = torch.arange(len(ids), device=ids.device).split(size)
    model = micro_batch.model
    if len(chunks) == 1:
        return score(model, ids, mask, width, **image_inputs(share["images"], chunks[0]))
    # DDP counts the forwards of its wrapper, and must see none within a backward pass.
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    score_again = functools.partial(checkpoint, score, inner, use_reentrant=False)
    return torch.cat(
        [score_again(ids[rows], mask[rows], width, **image_inputs(share["images"], rows)) for rows in chunks]
    )


def with_clips(rows: Rows) -> Tensor:
    """Return bool [B], the rows that hold an EchoClip; none where nothing was mined."""
    if "echo_weights" not in rows:
        return torch.zeros(num_rows(rows), dtype=torch.bool, device=rows["completion_ids"].device)
    return rows["echo_weights"].any(1)
