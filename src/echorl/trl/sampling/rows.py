"""Rows of TRL's generation batches of different widths: their choice, join and move between processes."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.nn.functional import pad

from echorl.core.communication import Communication
from echorl.trl.batch import CARRIED, PerToken
from echorl.trl.images import IMAGES, TYPES, merge_images, pick, split_images

Rows = dict[str, Any]
"""Tensors with as many rows each; of images also lists with an entry a row."""

NO_ROUNDS = (
    "sample once (method_options: of dapo and greso dynamic_sampling: false, of reinforce_ada max_rounds: 1 and "
    "groups_per_round: 1)."
)


def rows_of(out: dict[str, Any]) -> Rows:
    """Return the entries of TRL's batch that have rows, with a `tool_mask` in any case; TYPES of the prompts only.

    Raises:
        ValueError: an entry cannot be carried to another round.
    """
    rows = {key: value for key, value in out.items() if not (isinstance(value, Tensor) and value.dim() == 0)}
    for key in rows:
        if key not in CARRIED and key not in IMAGES:
            raise ValueError(f"rounds of sampling cannot carry {key!r} from one to the next: {NO_ROUNDS}")
    for key in rows.keys() & set(TYPES):
        rows[key], later = rows[key].split([out["prompt_ids"].shape[1], out["completion_ids"].shape[1]], 1)
        if later.any():
            raise ValueError(f"rounds of sampling cannot carry images that tools return: {NO_ROUNDS}")
    rows.setdefault("tool_mask", torch.ones_like(rows["completion_mask"]))
    return {**rows, **split_images(out)}


def batch_of(rows: Rows) -> Rows:
    """Return the rows in the form of TRL's batch."""
    shape = rows["completion_ids"].shape
    types = {key: torch.cat([rows[key], rows[key].new_zeros(shape)], 1) for key in TYPES if key in rows}
    return merge_images({**rows, **types})


def num_rows(rows: Rows) -> int:
    return rows["completion_ids"].shape[0]


def select(rows: Rows, index: Tensor | slice) -> Rows:
    """Return the rows at `index`, as copies."""
    return {key: pick(value, index) for key, value in rows.items()}


def join(parts: list[Rows], pad_token_id: int) -> Rows:
    """Return the rows of all parts in order, padded to the widest.

    Raises:
        ValueError: only some of the parts have images, or of sizes that do not go together.
    """
    for part in parts:
        if differing := part.keys() ^ parts[0].keys():
            raise ValueError(f"{min(differing)!r} is in some rounds of sampling only: {NO_ROUNDS}")
    return {key: _join(key, [part[key] for part in parts], pad_token_id) for key in parts[0]}


def _join(key: str, values: list[Any], pad_token_id: int) -> Any:
    if isinstance(values[0], list):
        return [entry for value in values for entry in value]
    return _join_images(key, values) if key in IMAGES else _join_tensors(key, values, pad_token_id)


def _join_images(key: str, tensors: list[Tensor]) -> Tensor:
    """Return joined images of models that pad a batch's images to one size."""
    if len({tensor.shape[1:] for tensor in tensors}) > 1:
        raise ValueError(f"the {key!r} of rounds of sampling have other sizes and cannot be joined: {NO_ROUNDS}")
    return torch.cat(tensors)


def _join_tensors(key: str, tensors: list[Tensor], pad_token_id: int) -> Tensor:
    if tensors[0].dim() == 1:
        return torch.cat(tensors)
    width = max(tensor.shape[1] for tensor in tensors)
    kind = CARRIED[key]
    assert isinstance(kind, PerToken)
    fill = pad_token_id if kind.pad is None else kind.pad
    margins = [(width - tensor.shape[1], 0) if kind.left else (0, width - tensor.shape[1]) for tensor in tensors]
    return torch.cat([pad(tensor, margin, value=fill) for tensor, margin in zip(tensors, margins, strict=True)])


def even_out(rows: Rows, counts: list[int], size: int, pad_token_id: int, comm: Communication) -> Rows:
    """Return this process's `rows` up to `size`, filled up with the surplus of other processes.

    `counts` are the numbers of rows of all processes, at most `size` on average; so no row is lost.
    """
    if max(counts) <= size:
        return rows
    device = rows["completion_ids"].device
    pool = join(comm.gather_objects([send_to_device(select(rows, slice(size, None)), "cpu")]), pad_token_id)
    missing = [max(0, size - count) for count in counts]
    first = sum(missing[: comm.rank])
    received = select(pool, slice(first, first + missing[comm.rank]))
    return join([select(rows, slice(size)), send_to_device(received, device)], pad_token_id)
