"""Rows of TRL's generation batch that were padded to different widths: chosen, joined, moved between processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

Rows = dict[str, Tensor]
"""Tensors with as many rows each."""

PADDING: Mapping[str, float | None] = {
    "prompt_ids": None,  # the padding token
    "prompt_mask": 0,
    "completion_ids": None,
    "completion_mask": 0,
    "tool_mask": 1,
    "advantages": 0.0,
    "old_per_token_logps": 0.0,
    "sampling_per_token_logps": 0.0,
    "importance_sampling_ratio": 1.0,
    "ref_per_token_logps": -1e4,  # far below any log-prob: the KL's exp(ref - logp) must not overflow, inf * 0 is NaN
    "echo_weights": 0.0,
    "echo_informative": 0.0,
}
"""What a row can be made of, and what a wider row is filled up with (outside the mask, so it counts for nothing)."""

LEFT = ("prompt_ids", "prompt_mask")


def rows_of(out: dict[str, Any]) -> Rows:
    """The tensors of TRL's batch that have rows, `tool_mask` always among them.

    Raises:
        ValueError: there is one that cannot be carried, of images say.
    """
    rows = {key: value for key, value in out.items() if not (isinstance(value, Tensor) and value.dim() == 0)}
    for key in rows:
        if key not in PADDING:
            raise ValueError(
                f"dynamic sampling cannot carry {key!r} from one round of sampling to the next: set "
                "method_options={'dynamic_sampling': False}."
            )
    rows.setdefault("tool_mask", torch.ones_like(rows["completion_mask"]))
    return rows


def num_rows(rows: Rows) -> int:
    return rows["completion_ids"].shape[0]


def select(rows: Rows, index: Tensor | slice) -> Rows:
    """The rows at `index`, as copies."""
    return {key: value[index].clone() for key, value in rows.items()}


def join(parts: list[Rows], pad_token_id: int) -> Rows:
    """One after the other, padded to the widest of all."""
    return {key: _join(key, [part[key] for part in parts], pad_token_id) for key in parts[0]}


def _join(key: str, tensors: list[Tensor], pad_token_id: int) -> Tensor:
    if tensors[0].dim() == 1:
        return torch.cat(tensors)
    width = max(tensor.shape[1] for tensor in tensors)
    fill = pad_token_id if PADDING[key] is None else PADDING[key]
    return torch.cat([_widen(tensor, width, fill, left=key in LEFT) for tensor in tensors])


def _widen(tensor: Tensor, width: int, fill: float, *, left: bool) -> Tensor:
    if tensor.shape[1] == width:
        return tensor
    more = tensor.new_full((tensor.shape[0], width - tensor.shape[1]), fill)
    return torch.cat([more, tensor] if left else [tensor, more], 1)


def even_out(rows: Rows, counts: list[int], size: int, process: int, pad_token_id: int) -> Rows:
    """This process's `rows` up to `size`, and what other processes have beyond it where this one has fewer.

    `counts` are the rows of all processes, at most `size` each on average; so none is lost.
    """
    if max(counts) <= size:
        return rows
    device = rows["completion_ids"].device
    spare = {key: value.cpu() for key, value in select(rows, slice(size, None)).items()}
    pool = join(gather_object([spare]), pad_token_id)
    missing = [max(0, size - count) for count in counts]
    first = sum(missing[:process])
    received = select(pool, slice(first, first + missing[process]))
    own = select(rows, slice(size))
    return join([own, {key: value.to(device) for key, value in received.items()}], pad_token_id)
