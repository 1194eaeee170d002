"""Keys of training rows: digests of prompt and columns, by which a method recognises a row at its next visit."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import torch
from datasets import IterableDataset
from trl.trainer.utils import strip_images_from_messages

from echorl.trl.context import Context

COLUMNS = ("image", "images")
"""Columns of images, whose text is an address."""


def row_digest(example: dict[str, Any], *texts: str) -> bytes:
    """Return 16 bytes for the row and these texts; images do not count.

    "Find x." is the prompt of many rows with images, whose answers differ: the other columns tell them apart.
    """
    columns = {name: value for name, value in example.items() if name not in ("prompt", *COLUMNS)}
    prompt = str(strip_images_from_messages(example["prompt"]))
    text = "\0".join([prompt, str(columns), *texts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def row_key(example: dict[str, Any]) -> int:
    """The digest as an int64, which processes can gather."""
    return int.from_bytes(row_digest(example)[:8], "big", signed=True)


def rows_fingerprint(rows: Any) -> str:
    """Return the digest of all training rows in their order; empty for streamed rows."""
    if isinstance(rows, IterableDataset):
        return ""
    whole = hashlib.blake2b(digest_size=16)
    for example in rows.remove_columns([name for name in COLUMNS if name in rows.column_names]):
        whole.update(row_digest(example))
    return whole.hexdigest()


class RowKeys:
    """Keys of the training rows, the same on every process; and whether a checkpoint's are of the same rows."""

    def __init__(self, context: Context) -> None:
        self.rows, self.method = context.rows, context.args.method

    @cached_property
    def fingerprint(self) -> str:
        return rows_fingerprint(self.rows)

    def check(self, fingerprint: str) -> None:
        """Check that a memory is of these rows.

        Raises:
            ValueError: it is of others.
        """
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"the memory of method={self.method!r} in this checkpoint is of other training rows: resume with the "
                "rows that the run began with, or start a new run from the checkpoint's weights."
            )


def group_keys(rows: list[dict[str, Any]], context: Context) -> list[int]:
    """Return one key a group, of all processes' rows."""
    keys = torch.tensor([row_key(example) for example in rows], device=context.comm.device)
    return context.comm.gather(keys)[:: context.args.num_generations].tolist()
