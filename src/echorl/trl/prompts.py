"""Checks of the prompts before TRL's own, which come late: a chat template, and images in all rows or in none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trl.data_utils import is_conversational

from echorl.trl.context import Context
from echorl.trl.versions import installed_trl, trains_on_images


def check_chat_template(train: Any, evaluation: Any, context: Context) -> None:
    """Refuse chat messages where there is no chat template; a `rollout_func` renders its prompts itself.

    Args:
        train, evaluation: data sets or None; for evaluation also a mapping of data sets.

    Raises:
        ValueError: names the tokenizer and the ways out.
    """
    if context.processor.chat_template or context.chat_template or "rollout_func" in context.features:
        return
    datasets = [train, *(evaluation.values() if isinstance(evaluation, dict) else [evaluation])]
    if any(is_conversational(next(iter(dataset or []), {})) for dataset in datasets):
        name = context.tokenizer.name_or_path
        raise ValueError(
            f"the tokenizer{f' of {name!r}' if name else ''} has no chat template, but the prompts are chat messages: "
            "give them as text (in a task of echorl: chat=false), use an instruct model, or save a "
            "chat_template.jinja beside the tokenizer (in Python: set tokenizer.chat_template)."
        )


def check_images(rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse rows of which only some have images, and images with an older TRL.

    Raises:
        ValueError: names the ways out.
    """
    has_images = {bool(row.get("images")) or row.get("image") is not None for row in rows}
    if len(has_images) > 1:
        raise ValueError(
            "a batch has prompts with and without images, which TRL's trainer cannot mix: give every row an image, or "
            "remove the rows without one."
        )
    if True in has_images and not trains_on_images():
        raise ValueError(
            f"the rows have images, but trl {installed_trl()} fails where the model samples an image's token: "
            "pip install 'trl>=1.16', or remove the images."
        )


def without_images(prompt: Any) -> Any:
    """Return chat messages with `{"type": "image"}` in the place of each image; a prompt in text as it is."""
    return [_message_without_images(message) for message in prompt] if isinstance(prompt, list) else prompt


def _message_without_images(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": [{"type": "image"} if part.get("type") == "image" else part for part in content]}
