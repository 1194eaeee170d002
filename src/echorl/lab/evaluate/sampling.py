"""Completions of a policy, sampled in batches with plain transformers, and their verdicts of a verifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from echorl.core.entropy import EntropyRecorder
from echorl.core.shared_prompts import REFUSAL, check_layers, sharing
from echorl.models.loading import tokenizer_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

Messages = list[dict[str, Any]]
Images = Sequence[Any]
"""PIL images of one prompt."""


@dataclass(frozen=True)
class Completions:
    """Sampled completions, `group_size` in a row a prompt, N in all.

    Attributes:
        texts: without special tokens.
        token_ids: up to and including the first token that ends a sequence.
        entropies: nats, one a token, of the distribution at the sampling temperature; may be empty.
        group_size: completions a prompt.
    """

    texts: list[str]
    token_ids: list[list[int]]
    entropies: list[list[float]]
    group_size: int


@dataclass(frozen=True)
class Rendered:
    """A prompt as text.

    Attributes:
        text: with the chat template applied.
        add_special_tokens: whether the tokenizer adds its own; a chat template has written them.
        images: images of the prompt, in the order of their places in the text.
    """

    text: str
    add_special_tokens: bool
    images: Images = ()


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | ProcessorMixin,
    prompts: Sequence[str | Messages],
    *,
    images: Sequence[Images | None] | None = None,
    group_size: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    batch_size: int = 512,
    seed: int = 0,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    entropies: bool = True,
    share_prompts: bool = False,
    bf16: bool = False,
) -> Completions:
    """Sample `group_size` completions of each prompt, from the policy's whole distribution unless `top_p` is below 1.

    Prompts are strings, or chat messages that the tokenizer's template renders with `chat_template_kwargs`. The same
    seed, batch size and number of threads give the same completions; the caller's random state is left as it was. The
    tokenizer must pad on the left. No prompts: empty lists.

    `images` holds each prompt's PIL images (None or empty: it has none); `tokenizer` is then the model's processor.
    They fill the parts {"type": "image"} of the messages in order; where a prompt's text is one string, they come
    before the text of the first user message, as in TRL. All of a batch's images are in memory at once.

    Without `entropies` a pass over the logits of every token is saved. `share_prompts` computes a prompt once for all
    of its completions in a batch, and `bf16` computes under bf16 autocast: both are faster and round otherwise.

    Temperature 0 takes the likeliest token each time; entropies are then those at temperature 1. The top-k, top-p and
    repetition penalty of the model's own generation settings are off.

    Raises:
        ValueError: images without a processor, prompts of text with images, another number of images than places, or
            images or a hybrid model with `share_prompts`.
    """
    if share_prompts and images is not None:
        raise ValueError(REFUSAL.format("images: remove it"))
    if share_prompts:
        check_layers(model)
    pairs = zip(prompts, [()] * len(prompts) if images is None else images, strict=True)
    rendered = [render(tokenizer, prompt, part or (), **(chat_template_kwargs or {})) for prompt, part in pairs]
    rows = [row for row in rendered for _ in range(group_size)]
    result = Completions([], [], [], group_size)
    training = model.training
    model.eval()
    sharing_or_not = sharing(model) if share_prompts else nullcontext()
    autocast = torch.autocast(model.device.type, torch.bfloat16, enabled=bf16)
    with torch.random.fork_rng(), torch.no_grad(), sharing_or_not, autocast:
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            recorder = EntropyRecorder(temperature or 1.0) if entropies else None
            choice = {**_choice(temperature, top_p), "max_new_tokens": max_new_tokens}
            batch = _generate(model, tokenizer, rows[start : start + batch_size], choice, recorder)
            result.token_ids.extend(batch)
            if recorder:
                recorded = recorder.entropies.tolist()
                result.entropies.extend(values[: len(ids)] for values, ids in zip(recorded, batch, strict=True))
    model.train(training)
    result.texts.extend(tokenizer_of(tokenizer).batch_decode(result.token_ids, skip_special_tokens=True))
    return result


def ends_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | ProcessorMixin) -> list[int]:
    """Return the ids that end a completion, as in TRL's trainers: the generation config's, and the tokenizer's."""
    return with_end(model.generation_config.eos_token_id, tokenizer)


def with_end(ends: int | list[int] | None, tokenizer: PreTrainedTokenizerBase | ProcessorMixin) -> list[int]:
    """Return the ids `ends` of a configuration, and the tokenizer's end of a sequence."""
    end = tokenizer_of(tokenizer).eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    return ends if end in ends else [end, *ends]


def cut_off(completions: Completions, max_new_tokens: int, ends: Sequence[int]) -> list[bool]:
    """Return for each completion whether it reached the limit without an end."""
    return [len(ids) >= max_new_tokens and ids[-1] not in ends for ids in completions.token_ids]


def images_of(rows: Any) -> list[Images] | None:
    """Return the images of a data set's rows, from its column `images` or `image` as in TRL; None without either."""
    if "images" in rows.column_names:
        return [images or () for images in rows["images"][:]]
    if "image" in rows.column_names:
        return [() if image is None else (image,) for image in rows["image"][:]]
    return None


def render(processing_class: Any, prompt: str | Messages, images: Images = (), **options: Any) -> Rendered:
    """Return a prompt as text for `sample`; `options` are the chat template's.

    Raises:
        ValueError: as `sample`.
    """
    reads_images = tokenizer_of(processing_class) is not processing_class
    if images and not reads_images:
        raise ValueError("a prompt has images and the policy has no processor for them: take a model that reads images")
    if isinstance(prompt, str):
        if images:
            raise ValueError("a prompt of plain text has images: give chat messages, whose template places the images")
        return Rendered(prompt, True)
    messages = _with_parts(prompt, len(images)) if reads_images else prompt
    text = processing_class.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)
    return Rendered(text, False, images)


def _with_parts(prompt: Messages, num_images: int) -> Messages:
    """Return the messages with lists of parts as contents; images before the first user message's text (a string)."""
    messages, num_unplaced = [], num_images
    for message in prompt:
        content = message["content"]
        if isinstance(content, str):
            places = num_unplaced if message["role"] == "user" else 0
            content = [*[{"type": "image"}] * places, {"type": "text", "text": content}]
            num_unplaced -= places
        messages.append({**message, "content": content})
    places = sum(part["type"] == "image" for message in messages for part in message["content"])
    if places != num_images:
        raise ValueError(f"a prompt has {num_images} images and {places} places for images: make them agree")
    return messages


def _generate(
    model: Any,
    processing_class: Any,
    rows: Sequence[Rendered],
    choice: Mapping[str, Any],
    recorder: EntropyRecorder | None,
) -> list[list[int]]:
    """Return the token ids of one completion a row."""
    ends = ends_of(model, processing_class)
    inputs = _inputs(model, processing_class, rows)
    output = model.generate(
        **inputs,
        **choice,
        repetition_penalty=1.0,
        logits_processor=[*([recorder] if recorder else []), *_no_image_tokens(model)],
        pad_token_id=tokenizer_of(processing_class).pad_token_id,
        eos_token_id=ends,
    )
    sampled = output[:, inputs["input_ids"].shape[1] :].tolist()
    return [ids[: next((place for place, token in enumerate(ids, 1) if token in ends), len(ids))] for ids in sampled]


def _choice(temperature: float, top_p: float) -> dict[str, Any]:
    """Return the options of `generate` for choosing a token."""
    if temperature == 0:
        return {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    return {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": top_p}


def _inputs(model: Any, processing_class: Any, rows: Sequence[Rendered]) -> Mapping[str, Any]:
    """Return the inputs of `generate`: tokens padded to one length, and the batch's images."""
    texts = [row.text for row in rows]
    options = dict(return_tensors="pt", padding=True, add_special_tokens=all(row.add_special_tokens for row in rows))
    if not any(row.images for row in rows):
        return tokenizer_of(processing_class)(texts, return_token_type_ids=False, **options).to(model.device)
    images = [list(row.images) for row in rows]
    return processing_class(text=texts, images=images, **options).to(model.device, dtype=model.dtype)


def _no_image_tokens(model: Any) -> list[Any]:
    """Return a processor against samples of an image's token, for a model that reads images, as in TRL's trainers."""
    token = getattr(model.config, "image_token_id", None)
    if token is None:
        return []
    from transformers import SuppressTokensLogitsProcessor

    return [SuppressTokensLogitsProcessor([token], device=model.device)]


def judge(verifier: Any, completions: Completions, columns: Mapping[str, Sequence[Any]]) -> list[list[bool]]:
    """Return the verifier's verdicts, one list a prompt: true for a reward of at least 1; None counts as a failure.

    `columns` are the data set's, one entry a prompt; they go to the verifier as TRL would pass them.
    """
    size = completions.group_size
    repeated = {name: [value for value in values for _ in range(size)] for name, values in columns.items()}
    rewards = verifier(completions=completions.texts, **repeated)
    passed = [reward is not None and reward >= 1.0 for reward in rewards]
    return [passed[start : start + size] for start in range(0, len(passed), size)]
