"""Model of an evaluation before it is loaded: the form of its prompts, and the length of its context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from echorl.lab.evaluate.sampling import render
from echorl.models.fingerprint import hash_model
from echorl.models.loading import base_of, load_processing_class, tokenizer_of

if TYPE_CHECKING:
    from echorl.lab.evaluate.benchmarks import Item

THINK = "<think>"


@dataclass(frozen=True)
class Checkpoint:
    """A Hugging Face folder, an adapter's folder, or a model of the hub.

    Attributes:
        name: the user's name for it.
        path: the folder, or the hub's name.
    """

    name: str
    path: str

    @property
    def base(self) -> str | None:
        """The model of an adapter; None for a whole model."""
        return base_of(self.path)

    @cached_property
    def processing_class(self) -> Any:
        """The tokenizer, or the processor of a model that reads images."""
        return load_processing_class(self.path)

    @cached_property
    def config(self) -> Any:
        """transformers' configuration of the (base) model's language part."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(self.base or self.path).get_text_config()

    @property
    def context(self) -> int | None:
        """The longest sequence of the model in tokens; None where its configuration has none."""
        return getattr(self.config, "max_position_embeddings", None)

    @property
    def chats(self) -> bool:
        """Return whether the model has a chat template."""
        return getattr(self.processing_class, "chat_template", None) is not None

    def fingerprint(self) -> str:
        """Return a hash of weights, configuration, tokenizer and an adapter's base; of a hub's model its name."""
        return "+".join(hash_model(path) for path in (self.path, self.base) if path)

    def prompt(self, item: Item) -> str | list[dict[str, Any]]:
        """Return the item's prompt for `sample`; without a chat template its texts, with an empty line between them.

        Raises:
            ValueError: the item has images, and there is no chat template to place them.
        """
        if self.chats or isinstance(item.prompt, str):
            return item.prompt
        if item.images:
            raise ValueError(f"{self.name} has no chat template, which an item with images needs: take another model.")
        return "\n\n".join(message["content"] for message in item.prompt)

    def opening(self, item: Item) -> str:
        """Return the beginning of the response that the chat template writes, "<think>" or nothing."""
        text = render(self.processing_class, self.prompt(item), item.images).text
        return THINK if text.rstrip().endswith(THINK) else ""

    def token_ids(self, items: Sequence[Item]) -> list[list[int]]:
        """Return each item's prompt as tokens; an image counts as one."""
        rendered = [render(self.processing_class, self.prompt(item), item.images) for item in items]
        options = {"add_special_tokens": all(each.add_special_tokens for each in rendered)}
        return tokenizer_of(self.processing_class)([each.text for each in rendered], **options)["input_ids"]
