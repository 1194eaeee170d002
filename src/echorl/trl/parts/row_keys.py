"""What tells one training row from another across visits: a digest of its prompt and columns."""

from __future__ import annotations

import hashlib
from typing import Any

from datasets import IterableDataset
from trl.trainer.utils import strip_images_from_messages

COLUMNS = ("image", "images")
"""Where the rows hold images, whose text is an address."""


def row_digest(example: dict[str, Any], *texts: str) -> bytes:
    """16 bytes of the row and these texts; images are left out.

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
    """Of all training rows in their order; empty for streamed rows, which cannot be gone through beforehand."""
    if isinstance(rows, IterableDataset):
        return ""
    whole = hashlib.blake2b(digest_size=16)
    for example in rows.remove_columns([name for name in COLUMNS if name in rows.column_names]):
        whole.update(row_digest(example))
    return whole.hexdigest()
