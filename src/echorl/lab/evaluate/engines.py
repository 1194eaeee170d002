"""Engines that generate an evaluation's samples: transformers, or vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.plan import Chunk, Work
from echorl.lab.evaluate.sampling import cut_off, ends_of, sample, with_end
from echorl.lab.options import Sampling
from echorl.models.loading import load_model, tokenizer_of


@dataclass(frozen=True)
class Response:
    """A completion: its text without special tokens, its length with the token that ends it, whether it was cut off.

    Where the chat template opened `<think>`, the text begins with it: an answer inside unfinished thinking is none.
    """

    text: str
    tokens: int
    truncated: bool


class Engine(Protocol):
    """Generates a chunk's completions, one a request in order; they depend on nothing but the chunk."""

    def generate(self, chunk: Chunk, max_new_tokens: int) -> list[Response]: ...


class Transformers:
    """Plain `generate`: a chunk is one batch, drawn with the chunk's seed."""

    def __init__(self, checkpoint: Checkpoint, sampling: Sampling, device: str) -> None:
        self.checkpoint, self.sampling = checkpoint, sampling
        self.model, self.processing_class = load_model(checkpoint.path, device), checkpoint.processing_class
        tokenizer = tokenizer_of(self.processing_class)
        if tokenizer.pad_token is None:  # of Llama 3, say; what follows a completion's end is not read
            tokenizer.pad_token = tokenizer.eos_token

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
    """vLLM's offline engine in this process: every request has its own seed, so batches don't matter to its draws.

    `length` is the longest sequence in tokens, prompt and completion; memory is laid out for it.

    Raises:
        ValueError: vLLM is not installed.
    """

    def __init__(self, checkpoint: Checkpoint, sampling: Sampling, length: int) -> None:
        check_vllm()
        from vllm import LLM

        self.checkpoint, self.sampling = checkpoint, sampling
        adapter = _adapter(checkpoint)
        self.llm = LLM(
            model=checkpoint.base or checkpoint.path,
            skip_tokenizer_init=True,  # prompts and responses are turned into tokens and text here, as for transformers
            dtype=str(checkpoint.config.dtype or "float32").removeprefix("torch."),
            max_model_len=length,
            seed=sampling.seed,
            disable_log_stats=True,
            **adapter,
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
        prompts = [{"prompt_token_ids": own} for own in ids]
        outputs = self.llm.generate(prompts, params, use_tqdm=False, lora_request=self._lora())
        first = [output.outputs[0] for output in outputs]
        texts = self.tokenizer.batch_decode([one.token_ids for one in first], skip_special_tokens=True)
        return [
            Response(self.checkpoint.opening(request.item) + text, len(one.token_ids), one.finish_reason == "length")
            for request, text, one in zip(chunk.requests, texts, first, strict=True)
        ]

    def _lora(self) -> Any:
        if self.checkpoint.base is None:
            return None
        from vllm.lora.request import LoRARequest

        return LoRARequest("adapter", 1, self.checkpoint.path)


def check_vllm() -> None:
    """Raises:
    ValueError: vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise ValueError("backend 'vllm' needs vLLM, which is not installed: see docs/vllm.md, or take 'transformers'.")


def _adapter(checkpoint: Checkpoint) -> dict[str, Any]:
    """The options of an engine that runs an adapter beside its model."""
    if checkpoint.base is None:
        return {}
    from peft import PeftConfig

    return {"enable_lora": True, "max_lora_rank": PeftConfig.from_pretrained(checkpoint.path).r}


def _ends(checkpoint: Checkpoint) -> list[int]:
    """As `ends_of`, without the model."""
    from transformers import GenerationConfig

    path = checkpoint.base or checkpoint.path
    try:
        own = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:  # no such file: a model's configuration says it then
        own = checkpoint.config.eos_token_id
    return with_end(own, checkpoint.processing_class)


def start(backend: str, checkpoint: Checkpoint, sampling: Sampling, works: Sequence[Work], device: str) -> Engine:
    """Load the model for this work; `device` is that of transformers.

    Raises:
        ValueError: vLLM is not installed, or an item has images, which it is not given here.
    """
    if backend == "vllm":
        if with_images := [work.benchmark.name for work in works if any(item.images for item in work.items)]:
            raise ValueError(f"{with_images[0]} has images, which are for the backend 'transformers': choose that one.")
        return Vllm(checkpoint, sampling, max(work.longest + work.max_new_tokens for work in works))
    return Transformers(checkpoint, sampling, device)


BATCH_SIZES = {"transformers": 32, "vllm": 256}
"""Completions a chunk: what fits a batch, and what fills an engine and is not too much to lose."""
