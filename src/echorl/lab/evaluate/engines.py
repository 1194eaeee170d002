"""Engines that generate an evaluation's samples: transformers, or vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.plan import Chunk, Work
from echorl.lab.evaluate.sampling import cut_off, ends_of, sample, with_end
from echorl.lab.options import Sampling
from echorl.models.loading import load_model, tokenizer_of


@dataclass(frozen=True)
class Response:
    """A completion: its text without special tokens, its length with the token that ends it, whether it was cut off.

    The text begins with a `<think>` that the chat template wrote, since an answer inside unfinished thinking is none.
    """

    text: str
    tokens: int
    truncated: bool


class Engine(Protocol):
    """Generates a chunk's completions, one a request in order, which depend on the chunk alone."""

    def generate(self, chunk: Chunk, max_new_tokens: int) -> list[Response]: ...


class Transformers:
    """Plain `generate`: a chunk is one batch, drawn with the chunk's seed."""

    def __init__(self, checkpoint: Checkpoint, sampling: Sampling, device: str) -> None:
        self.checkpoint, self.sampling = checkpoint, sampling
        self.model, self.processing_class = load_model(checkpoint.path, device), checkpoint.processing_class

    def generate(self, chunk: Chunk, max_new_tokens: int) -> list[Response]:
        """Sample one batch, drawn with the chunk's seed."""
        items = [request.item for request in chunk.requests]
        completions = sample(
            self.model,
            self.processing_class,
            [self.checkpoint.prompt(item) for item in items],
            images=[item.images for item in items] if any(item.images for item in items) else None,
            group_size=1,
            max_new_tokens=max_new_tokens,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            batch_size=len(items),
            seed=chunk.seed,
            entropies=False,
        )
        cut = cut_off(completions, max_new_tokens, ends_of(self.model, self.processing_class))
        texts = [self.checkpoint.opening(item) + text for item, text in zip(items, completions.texts, strict=True)]
        return list(map(Response, texts, map(len, completions.token_ids), cut))


class Vllm:
    """vLLM's offline engine in this process: every request has its own seed, so that draws do not depend on batches.

    `length` is the longest sequence in tokens, prompt and completion, for which the engine reserves memory.

    Raises:
        ValueError: vLLM is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, sampling: Sampling, length: int) -> None:
        check_vllm()
        from vllm import LLM

        self.checkpoint, self.sampling, self.lora = checkpoint, sampling, None
        options = {}
        if checkpoint.base is not None:
            from peft import PeftConfig
            from vllm.lora.request import LoRARequest

            self.lora = LoRARequest("adapter", 1, checkpoint.path)
            options = {"enable_lora": True, "max_lora_rank": PeftConfig.from_pretrained(checkpoint.path).r}
        self.llm = LLM(
            model=checkpoint.base or checkpoint.path,
            skip_tokenizer_init=True,  # prompts and responses are turned into tokens and text here, as for transformers
            dtype=str(checkpoint.config.dtype or "float32").removeprefix("torch."),
            max_model_len=length,
            seed=sampling.seed,
            disable_log_stats=True,
            **options,
        )
        self.tokenizer, self.ends = tokenizer_of(checkpoint.processing_class), _ends(checkpoint)

    def generate(self, chunk: Chunk, max_new_tokens: int) -> list[Response]:
        """Call the engine once, each request with its own seed."""
        from vllm import SamplingParams

        params = [
            SamplingParams(
                temperature=self.sampling.temperature,
                top_p=self.sampling.top_p,
                max_tokens=max_new_tokens,
                seed=request.seed,
                stop_token_ids=self.ends,
                detokenize=False,
            )
            for request in chunk.requests
        ]
        ids = self.checkpoint.token_ids([request.item for request in chunk.requests])
        prompts = [{"prompt_token_ids": token_ids} for token_ids in ids]
        outputs = self.llm.generate(prompts, params, use_tqdm=False, lora_request=self.lora)
        completions = [output.outputs[0] for output in outputs]
        texts = self.tokenizer.batch_decode([each.token_ids for each in completions], skip_special_tokens=True)
        return [
            Response(self.checkpoint.opening(request.item) + text, len(each.token_ids), each.finish_reason == "length")
            for request, text, each in zip(chunk.requests, texts, completions, strict=True)
        ]


def check_vllm() -> None:
    """Check that vLLM is installed.

    Raises:
        ValueError: it is not.
    """
    if find_spec("vllm") is None:
        raise ValueError(
            "backend 'vllm' needs vLLM, which is not installed: see docs/guides/vllm.md, or choose 'transformers'."
        )


def _ends(checkpoint: Checkpoint) -> list[int]:
    """Return the ids of `ends_of` without loading the model."""
    from transformers import GenerationConfig

    try:
        ends = GenerationConfig.from_pretrained(checkpoint.base or checkpoint.path).eos_token_id
    except OSError:  # there is no such file
        ends = checkpoint.config.eos_token_id
    return with_end(ends, checkpoint.processing_class)


def start(backend: str, checkpoint: Checkpoint, sampling: Sampling, works: Sequence[Work], device: str) -> Engine:
    """Load the model for this work; `device` is that of transformers.

    Raises:
        ValueError: the backend is vLLM, which is not installed, or an item has images.
    """
    if backend == "vllm":
        if with_images := [work.benchmark.name for work in works if any(item.images for item in work.items)]:
            raise ValueError(f"{with_images[0]} has images, which vLLM does not read here: choose 'transformers'.")
        return Vllm(checkpoint, sampling, max(work.longest + work.max_new_tokens for work in works))
    return Transformers(checkpoint, sampling, device)
