"""Sizes of the step benchmarks, and models of these sizes with random weights, without TRL."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM


@dataclass(frozen=True)
class Size:
    """Size of the model and of a batch. Heads have 64 dimensions and an inner layer 4 times the width, if not given."""

    hidden: int
    layers: int
    vocab: int
    rollouts: int
    tokens: int
    num_iterations: int = 1
    heads: int | None = None
    intermediate: int | None = None


CPU_SIZES = {
    "small": Size(hidden=128, layers=4, vocab=1024, rollouts=32, tokens=96),
    "wide-vocabulary": Size(hidden=256, layers=4, vocab=32768, rollouts=16, tokens=64),
    "long": Size(hidden=128, layers=2, vocab=4096, rollouts=16, tokens=256),
    "old-pass": Size(hidden=256, layers=4, vocab=32768, rollouts=16, tokens=64, num_iterations=2),
    "smollm2": Size(hidden=576, layers=30, vocab=49152, rollouts=16, tokens=32),
    "qwen-vocabulary": Size(hidden=256, layers=2, vocab=151936, rollouts=16, tokens=32),
}
VLLM_SIZES = {name: CPU_SIZES[name] for name in ("smollm2", "qwen-vocabulary")}
REHEARSAL_SIZES = {"tiny": Size(hidden=64, layers=1, vocab=32, rollouts=16, tokens=16)}
CUDA_SIZES = {
    "qwen2.5-0.5b": Size(hidden=896, layers=24, vocab=151936, rollouts=32, tokens=2048, intermediate=4864),
    "qwen2.5-1.5b": Size(hidden=1536, layers=28, vocab=151936, rollouts=32, tokens=2048, heads=12, intermediate=8960),
}


def make_model(size: Size, device: str = "cpu") -> Qwen2ForCausalLM:
    """Return a randomly initialised Qwen2 model."""
    torch.manual_seed(0)
    heads = size.heads or max(2, size.hidden // 64)
    config = Qwen2Config(
        vocab_size=size.vocab,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate or 4 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=2 if heads % 2 == 0 else 3,
        max_position_embeddings=size.tokens + 64,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    with torch.device(device):
        return Qwen2ForCausalLM(config)
