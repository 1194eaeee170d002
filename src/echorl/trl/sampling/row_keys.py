"""Keys of training rows: digests of prompt and columns, by which a method recognises a row at its next visit."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

import torch
from datasets import IterableDataset

from echorl.trl.context import Context
from echorl.trl.prompts import without_images

COLUMNS = ("image", "images")
"""Columns of images; their text form is an address in memory."""


def row_digest(example: dict[str, Any], *texts: str) -> bytes:
    """Return 16 bytes for the row and these texts; images do not count.

    "Find x." is the prompt of many rows with images, whose answers differ: the other columns tell them apart.
    """
    columns = {name: value for name, value in example.items() if name not in ("prompt", *COLUMNS)}
    prompt = str(without_images(example["prompt"]))
    text = "\0".join([prompt, str(columns), *texts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def row_key(example: dict[str, Any]) -> int:
    """Return the digest as an int64, which processes can gather."""
    return int.from_bytes(row_digest(example)[:8], "big", signed=True)


class RowKeys:
    """The identity of the training rows, which a method's memory in a checkpoint must share."""

    def __init__(self, rows: Any, method: str) -> None:
        self.rows, self.method = rows, method

    @cached_property
    def fingerprint(self) -> str:
        """The digest of all training rows in their order; empty for streamed rows."""
        if isinstance(self.rows, IterableDataset):
            return ""
        digest = hashlib.blake2b(digest_size=16)
        for example in self._without_images():
            digest.update(row_digest(example))
        return digest.hexdigest()

    @cached_property
    def keys(self) -> list[int]:
        """The key of each training row."""
        return [row_key(example) for example in self._without_images()]

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Key -> the number of its training row."""
        return {key: number for number, key in enumerate(self.keys)}

    def _without_images(self) -> Any:
        return self.rows.remove_columns([name for name in COLUMNS if name in self.rows.column_names])

    def check(self, fingerprint: str) -> None:
        """Check that a checkpoint's memory is of these rows.

        Raises:
            ValueError: it is of other rows.
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
