"""The tokenizer and the random models of the tests, made on the spot: no network, no time."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2ForCausalLM

PIECES = ["<pad>", "<eos>", "<unk>", "\n", "\n\n", " ", *"0123456789+=?", "a", "b", ".\n"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\.\n|\n\n|\n|."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    special = dict(pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **special)


def random_model(
    family: type[PreTrainedModel] = Qwen2ForCausalLM, *, seed: int = 0, hidden: int = 32, **changes: Any
) -> Any:
    """A model of two layers for the tokens of `make_tokenizer`; `changes` go to its configuration."""
    torch.manual_seed(seed)
    values = dict(
        vocab_size=len(PIECES),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    return family(family.config_class(**{**values, **changes}))
