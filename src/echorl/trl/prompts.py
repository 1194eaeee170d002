"""Checks of the prompts before TRL's own, which come late: a chat template, and images in all rows or in none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trl.data_utils import is_conversational

from echorl.trl.context import Context


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
    """Refuse rows of which only some have images.

    Raises:
        ValueError: names the ways out.
    """
    if len({bool(row.get("images")) or row.get("image") is not None for row in rows}) > 1:
        raise ValueError(
            "a batch has prompts with and without images, which TRL's trainer cannot mix: give every row an image, or "
            "remove the rows without one."
        )
