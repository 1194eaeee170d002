"""Images of single rollouts: TRL keeps the images of all rollouts of a batch in one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from trl.trainer.utils import split_pixel_values_by_grid, unsplit_pixel_values_by_grid

IMAGES = (
    "pixel_values",
    "image_grid_thw",
    "image_position_ids",
    "pixel_attention_mask",
    "spatial_shapes",
    "image_sizes",
    "num_images",
    "num_tiles",
)
"""Keys of TRL's batch for images: tensors, and lists of numbers."""

TYPES = ("token_type_ids", "mm_token_type_ids")
"""Keys with one number a token of prompt and completion: 0 for text, else in an image's place."""


def image_inputs(batch: Mapping[str, Any], rows: Tensor) -> dict[str, Any]:
    """Return a forward's inputs for `rows` (int64) besides ids and mask, as TRL names them; {} for a text model."""
    inputs = {key: value[rows] for key, value in batch.items() if key in TYPES}
    images = {key: pick(value, rows) for key, value in split_images(batch).items()}
    if sum(images.get("num_images", [0])):  # transformers takes no empty tensor of images
        inputs |= merge_images(images)
    return inputs


def split_images(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch's entries of IMAGES, each with one row a rollout: tensors, or lists of one entry a rollout."""
    return split_pixel_values_by_grid({key: batch[key] for key in IMAGES if batch.get(key) is not None})


def merge_images(split: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `split_images`; other entries stay as they are."""
    return unsplit_pixel_values_by_grid(dict(split))


def pick(value: Any, rows: Tensor | slice) -> Any:
    """Return the rows of a tensor, as copies, or of a list."""
    if isinstance(value, Tensor):
        return value[rows].clone()
    return value[rows] if isinstance(rows, slice) else [value[row] for row in rows.tolist()]
