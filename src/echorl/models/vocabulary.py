"""A model with only those rows of its vocabulary that a task can use."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast


def keep_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Shrink `model` in place to the tokens of `texts`, and return it with a tokenizer that has only these.

    Kept are the tokens that `texts` are made of, the merges that lead to them, single bytes (so that any text can
    still be written) and special tokens. `texts` become the same tokens as before, under other ids, and their logits
    are the same; probabilities are those of the whole vocabulary, divided by the share of the tokens kept.

    Raises:
        ValueError: the tokenizer is not a byte-level BPE.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    if state["model"]["type"] != "BPE" or state["model"].get("ignore_merges"):
        raise ValueError(f"{type(tokenizer).__name__} is no byte-level BPE with merges: keep its whole vocabulary.")
    old_ids = _kept(model, tokenizer, state, texts)
    new_id = {old: new for new, old in enumerate(old_ids)}
    _shrink_tokenizer(state, new_id)
    smaller = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **_settings(tokenizer))
    _shrink_model(model, old_ids, new_id)
    return model, smaller


def _kept(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, state: dict[str, Any], texts: Iterable[str]
) -> list[int]:
    """Ids to keep, in their order."""
    vocabulary = state["model"]["vocab"]
    used = {id for text in texts for id in tokenizer(text, add_special_tokens=False)["input_ids"]}
    ids = {token["id"] for token in state["added_tokens"]} | {id for token, id in vocabulary.items() if len(token) == 1}
    for _, _, named in _named_ids(model):
        used.update(named if isinstance(named, list) else [named])
    tokens = {id: token for token, id in vocabulary.items()}
    ranks = {tuple(pair): rank for rank, pair in enumerate(state["model"]["merges"])}
    for id in used - ids:
        ids.update(vocabulary[token] for token in _merged(tokens[id], ranks))
    return sorted(ids)


def _merged(token: str, ranks: dict[tuple[str, str], int]) -> set[str]:
    """All tokens that come up while the merges make `token` from its characters, itself included."""
    pieces, seen = list(token), {token}
    while len(pieces) > 1:
        pairs = list(itertools.pairwise(pieces))
        best = min(range(len(pairs)), key=lambda place: ranks.get(pairs[place], len(ranks)))
        pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
        seen.add(pieces[best])
    return seen


def _shrink_tokenizer(state: dict[str, Any], new_id: dict[int, int]) -> None:
    bpe = state["model"]
    bpe["vocab"] = {token: new_id[old] for token, old in bpe["vocab"].items() if old in new_id}
    bpe["merges"] = [pair for pair in bpe["merges"] if all(part in bpe["vocab"] for part in (*pair, "".join(pair)))]
    for token in state["added_tokens"]:
        token["id"] = new_id[token["id"]]


def _settings(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    names = ("bos_token", "eos_token", "unk_token", "pad_token", "chat_template", "padding_side", "model_max_length")
    return {name: getattr(tokenizer, name) for name in names if getattr(tokenizer, name) is not None}


def _shrink_model(model: PreTrainedModel, old_ids: list[int], new_id: dict[int, int]) -> None:
    rows = torch.tensor(old_ids, device=model.device)
    kept = [[values.data[rows].clone() for values in _by_token(layer)] for layer in _vocabulary_layers(model)]
    model.resize_token_embeddings(len(old_ids), mean_resizing=False)
    for layer, values in zip(_vocabulary_layers(model), kept, strict=True):
        for parameter, value in zip(_by_token(layer), values, strict=True):
            parameter.data.copy_(value)
    for config, name, old in _named_ids(model):
        setattr(config, name, [new_id[id] for id in old] if isinstance(old, list) else new_id[old])


def _vocabulary_layers(model: PreTrainedModel) -> tuple[Any, Any]:
    return model.get_input_embeddings(), model.get_output_embeddings()


def _by_token(layer: Any) -> list[torch.Tensor]:
    """The parameters of a layer that have a row for each token."""
    return [layer.weight] if getattr(layer, "bias", None) is None else [layer.weight, layer.bias]


def _named_ids(model: PreTrainedModel) -> list[tuple[Any, str, int | list[int]]]:
    """(configuration, attribute, ids) of the tokens that the model's configurations name."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    ids = [
        (config, name, getattr(config, name, None))
        for config in (model.config, model.generation_config)
        for name in names
    ]
    return [(config, name, value) for config, name, value in ids if value is not None]
