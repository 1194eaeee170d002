"""A prompt is computed once for all of its rollouts, in sampling and in the forward that scores them.

Rollouts of one prompt become one sequence: the prompt but for its last token, then for each rollout that last token and
the completion, at the positions that they have behind the prompt. A mask hides the rollouts from each other. So each
token sees what it would see in a row of its own, and log-probs, entropies and gradients differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

REFUSAL = "share_prompts=True cannot be combined with {}."
"""What a setting or a model is refused with."""


@dataclass(frozen=True)
class Packed:
    """Rows of B rollouts with U prompts, packed into U sequences of L tokens.

    Attributes:
        input_ids, position_ids: int64 [U, L], padded with 0 on the right.
        labels: int64 [U, L], -100 where there is no token to score.
        mask: bool [U, 1, L, L], whether a query (third axis) sees a key (last axis).
        place: int64 [B, T], the token of a completion in the flattened [U, L]; -1 outside the completion.
    """

    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    mask: Tensor
    place: Tensor


def distinct_rows(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first row of each distinct one [U], and for each row the index of its like among them [B]."""
    key = torch.where(mask.bool(), ids, -1)
    _, like = torch.unique(key, dim=0, return_inverse=True)
    rows = torch.arange(len(ids), device=ids.device)
    first = torch.full((int(like.max()) + 1,), len(ids), device=ids.device).scatter_reduce(0, like, rows, "amin")
    return first, like


def pack(input_ids: Tensor, attention_mask: Tensor, num_tokens: int) -> Packed:
    """Pack rows [B, P + T], whose last `num_tokens` = T are the completions; a prompt has at least one token."""
    is_token = attention_mask.bool()
    prompt_ids, in_prompt = input_ids[:, :-num_tokens], is_token[:, :-num_tokens]
    completion_ids, in_completion = input_ids[:, -num_tokens:], is_token[:, -num_tokens:]
    first, like = distinct_rows(prompt_ids, in_prompt)
    pieces = []  # (sequence, row or -1 for a shared prompt, ids, position of the first token)
    for sequence, row in enumerate(first.tolist()):
        prompt = prompt_ids[row, in_prompt[row]]
        pieces.append((sequence, -1, prompt[:-1], 0))
        for member in (like == sequence).nonzero().flatten().tolist():
            ids = torch.cat([prompt[-1:], completion_ids[member, in_completion[member]]])
            pieces.append((sequence, member, ids, len(prompt) - 1))
    return _lay_out(pieces, len(first), in_completion)


def _lay_out(pieces: list[tuple[int, int, Tensor, int]], num_sequences: int, in_completion: Tensor) -> Packed:
    device = in_completion.device
    lengths = [0] * num_sequences
    for sequence, _, ids, _ in pieces:
        lengths[sequence] += len(ids)
    shape = (num_sequences, max(lengths))
    input_ids, position_ids = (torch.zeros(shape, dtype=torch.long, device=device) for _ in range(2))
    labels = torch.full(shape, -100, device=device)
    rollout = torch.full(shape, -2, device=device)  # the row; -1: the shared prompt; -2: padding
    place = torch.full(in_completion.shape, -1, device=device)
    ends = [0] * num_sequences
    for sequence, row, ids, position in pieces:
        start, end = ends[sequence], ends[sequence] + len(ids)
        ends[sequence] = end
        input_ids[sequence, start:end] = ids
        position_ids[sequence, start:end] = torch.arange(position, position + len(ids), device=device)
        rollout[sequence, start:end] = row
        if row >= 0:
            labels[sequence, start + 1 : end] = ids[1:]
            tokens = torch.arange(start + 1, end, device=device) + sequence * shape[1]
            place[row, in_completion[row]] = tokens
    return Packed(input_ids, position_ids, labels, _visible(rollout), place)


def _visible(rollout: Tensor) -> Tensor:
    """bool [U, 1, L, L]: a token sees the tokens up to itself, of the shared prompt and of its own rollout."""
    length = rollout.shape[1]
    same = rollout.unsqueeze(2) == rollout.unsqueeze(1)
    earlier = torch.ones(length, length, dtype=torch.bool, device=rollout.device).tril()
    return ((same | (rollout == -1).unsqueeze(1)) & earlier).unsqueeze(1)


def check_layers(model: Any) -> None:
    """Refuse a hybrid model: its linear attention, convolutions or Mamba layers would mix the rollouts of a sequence.

    Raises:
        ValueError: with the kind of layer.
    """
    config = model.config.get_text_config()
    others = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
    if others or getattr(model, "_is_stateful", False):
        kind = others[0] if others else "recurrent"
        raise ValueError(REFUSAL.format(f"the {kind} layers of {config.model_type}: remove it"))


class SharedPrompts:
    """A model as TRL's scoring forward calls it, with each distinct prompt computed once."""

    def __init__(self, model: Any, num_tokens: int) -> None:
        self.model, self.num_tokens = model, num_tokens

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **kwargs: Any) -> Any:
        """Return `log_probs` and `entropy` [B, T] of the completions' tokens, 0 outside them."""
        packed = pack(input_ids, attention_mask, self.num_tokens)
        outputs = self.model(
            input_ids=packed.input_ids,
            attention_mask=packed.mask,
            position_ids=packed.position_ids,
            labels=packed.labels,
            **kwargs,
        )
        unpacked = {name: _unpack(getattr(outputs, name, None), packed) for name in ("log_probs", "entropy")}
        return SimpleNamespace(**unpacked, aux_loss=getattr(outputs, "aux_loss", None))


def _unpack(values: Tensor | None, packed: Packed) -> Tensor | None:
    """Values [U, L - 1] of the tokens but the first of each sequence, as [B, T]; None stays None."""
    if values is None:
        return None
    flat = torch.nn.functional.pad(values, (1, 0)).flatten()
    return flat[packed.place.clamp(min=0)].masked_fill(packed.place < 0, 0)


@contextmanager
def sharing(model: Any) -> Iterator[None]:
    """Let `model.generate` compute each distinct prompt of its batch once."""
    generate, previous = model.generate, vars(model).get("generate")

    def generate_shared(input_ids: Tensor, attention_mask: Tensor, **kwargs: Any) -> Any:
        first, like = distinct_rows(input_ids, attention_mask)
        if len(first) < len(input_ids) and input_ids.shape[1] > 1:
            kwargs |= _prompt_cache(model, input_ids[first], attention_mask[first], like)
        return generate(input_ids=input_ids, attention_mask=attention_mask, **kwargs)

    model.generate = generate_shared
    try:
        yield
    finally:
        del model.generate
        if previous is not None:
            model.generate = previous


def _prompt_cache(model: Any, ids: Tensor, mask: Tensor, like: Tensor) -> dict[str, Any]:
    """Return keys and values of the prompts' tokens but the last, a row for each rollout, under `generate`'s name."""
    ids, mask = ids[:, :-1], mask[:, :-1]
    position_ids = (mask.long().cumsum(1) - 1).clamp(min=0)
    out = model(ids, attention_mask=mask, position_ids=position_ids, use_cache=True, logits_to_keep=1)
    name = "cache" if "cache" in out else "past_key_values"  # its name in older versions of transformers
    out[name].batch_select_indices(like)
    return {name: out[name]}
