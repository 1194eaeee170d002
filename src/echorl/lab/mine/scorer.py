"""Log-probabilities and entropies of given responses under a causal model, by one forward pass as in a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echorl.core.entropy import logp_and_entropy
from echorl.lab.evaluate.sampling import Rendered, render
from echorl.lab.logs.layouts import Rollout
from echorl.lab.mine.plan import Reading
from echorl.models.loading import tokenizer_of
from echorl.support.errors import located

LOGITS_AT_ONCE = 1 << 25
"""The most numbers in the logits that exist at once, 128 MB in float32; a whole batch may have more."""
PROBE_TOKENS = 8


@dataclass(frozen=True)
class Tokens:
    """A rollout as tokens: prompt and response are tokenised apart, as in a trainer, so that no token spans both."""

    prompt: list[int]
    response: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def tokenize(rollouts: Sequence[Rollout], processing_class: Any, reading: Reading) -> list[Tokens]:
    """Return each rollout's tokens.

    Raises:
        ValueError: a prompt is chat messages, or `reading.chat` is set, and the tokenizer has no chat template.
    """
    tokenizer = tokenizer_of(processing_class)
    end = [tokenizer.eos_token_id] if reading.end and tokenizer.eos_token_id is not None else []
    tokens: list[Tokens] = []
    for index, rollout in enumerate(rollouts):
        if index == 0 or rollout.prompt != rollouts[index - 1].prompt:  # the rollouts of a group stand together
            rendered = _render(rollout.prompt, processing_class, reading.chat)
            prompt = tokenizer(rendered.text, add_special_tokens=rendered.add_special_tokens)["input_ids"]
        ids = tokenizer(rollout.response, add_special_tokens=False)["input_ids"]
        tokens.append(Tokens(prompt, ids if ids[-1:] == end else ids + end))
    return tokens


def check_prompts(rollouts: Iterable[Rollout], processing_class: Any, chat: bool) -> Iterator[Rollout]:
    """Yield the rollouts, each after its prompt was rendered once.

    Raises:
        ValueError: the model's chat template cannot write it; the message begins with the rollout's file and line.
    """
    previous = None
    for rollout in rollouts:
        if rollout.prompt != previous:
            with located(f"{rollout.place[0]}, line {rollout.place[1]}"):
                _render(rollout.prompt, processing_class, chat)
        previous = rollout.prompt
        yield rollout


def _render(prompt: str | list, processing_class: Any, chat: bool) -> Rendered:
    messages = [{"role": "user", "content": prompt}] if chat and isinstance(prompt, str) else prompt
    if isinstance(messages, str):
        return render(processing_class, messages)
    if not getattr(processing_class, "chat_template", None):
        raise ValueError("a prompt holds chat messages, and the model has no chat template: take another --model.")
    from jinja2 import TemplateError

    try:
        return render(processing_class, messages)
    except (TemplateError, TypeError) as error:  # a TypeError: a message lacks a text that the template joins
        raise ValueError(
            f"the model's chat template does not take the prompt's messages ({error}): mend them, or take another "
            "--model."
        ) from None


class Scorer:
    """A model that gives the log-probabilities and entropies of responses.

    Args:
        tokens_at_once: the most padded tokens in a batch, unless one rollout has more.
    """

    def __init__(self, model: Any, *, temperature: float = 1.0, tokens_at_once: int = 8192) -> None:
        self.model = model.eval()
        self.temperature, self.tokens_at_once = temperature, tokens_at_once
        self.head = model.get_output_embeddings()
        self._head_is_all = self._try_head()

    @torch.no_grad()
    def scores(self, rollouts: Sequence[Tokens], max_length: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return (log-probabilities, entropies) of each rollout: float32 [T] on the CPU, nats at the temperature.

        There is one number a response token, NaN in a rollout of more than `max_length` tokens, and for the first token
        of a response without any prompt token, which nothing predicts.
        """
        scores = [torch.full((2, len(rollout.response)), torch.nan) for rollout in rollouts]
        lengths = [len(rollout) if max_length is None or len(rollout) <= max_length else 0 for rollout in rollouts]
        for batch in batches(lengths, self.tokens_at_once):
            for row, values in zip(batch, self._score([rollouts[row] for row in batch]), strict=True):
                scores[row][:, scores[row].shape[1] - values.shape[1] :] = values
        return [(logp, entropy) for logp, entropy in scores]

    def _score(self, rollouts: list[Tokens]) -> list[Tensor]:
        # Nothing predicts the first token of a response without a prompt.
        predicted = [each.response if each.prompt else each.response[1:] for each in rollouts]
        states = self._states(rollouts, predicted)
        targets = torch.tensor([token for tokens in predicted for token in tokens], device=states.device)
        scores = torch.empty(2, len(states))
        size = max(1, LOGITS_AT_ONCE // self.model.get_input_embeddings().num_embeddings)
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            logits = self.head(states[part]) if self._head_is_all else states[part]
            logp, entropy = logp_and_entropy(logits, targets[part], temperature=self.temperature)
            scores[:, part] = torch.stack([logp, entropy]).cpu()
        return list(scores.split(list(map(len, predicted)), dim=1))

    def _states(self, rollouts: list[Tokens], predicted: list[list[int]]) -> Tensor:
        """Return the last hidden states (or logits) at the positions before the predicted tokens, [positions, ...]."""
        ids = torch.zeros(len(rollouts), max(map(len, rollouts)), dtype=torch.int64)
        mask, before = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for row, (rollout, tokens) in enumerate(zip(rollouts, predicted, strict=True)):
            length = len(rollout)
            ids[row, :length] = torch.tensor(rollout.prompt + rollout.response)
            mask[row, :length] = 1
            before[row, length - 1 - len(tokens) : length - 1] = True
        device = self.model.device
        return self._forward(ids.to(device), mask.to(device))[before.to(device)]

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        options = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        return self.model.base_model(**options)[0] if self._head_is_all else self.model(**options).logits

    @torch.no_grad()
    def _try_head(self) -> bool:
        """Return whether the logits are the head's product and nothing else (Gemma 2 caps them, Cohere scales them)."""
        ids = torch.arange(PROBE_TOKENS, device=self.model.device).unsqueeze(0)
        mask = torch.ones_like(ids)
        self._head_is_all = False
        whole = self._forward(ids, mask)
        self._head_is_all = self.head is not None
        return self._head_is_all and torch.allclose(self.head(self._forward(ids, mask)), whole, rtol=1e-2, atol=1e-2)


def batches(lengths: Sequence[int], tokens_at_once: int) -> Iterator[list[int]]:
    """Yield numbers of rows, longest first, with rows x longest within `tokens_at_once`, without rows of length 0.

    >>> list(batches([2, 5, 0, 4], 8))
    [[1], [3, 0]]
    """
    order = sorted((row for row, length in enumerate(lengths) if length), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        size = max(1, tokens_at_once // lengths[order[start]])
        yield order[start : start + size]
        start += size
