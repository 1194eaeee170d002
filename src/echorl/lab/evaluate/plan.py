"""Plan of an evaluation: settings, and chunks of requests that depend on the settings alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echorl.lab.evaluate.benchmarks import Benchmark, Item
    from echorl.lab.options import Sampling

MAX_NEW_TOKENS = 8192
BATCH_SIZES = {"transformers": 32, "vllm": 256}
"""Completions of a chunk: a batch of transformers, and enough for an engine of vLLM to be busy."""


@dataclass(frozen=True)
class Request:
    """One completion to sample: the item, the number of the sample, and the seed of the request."""

    item: Item
    sample: int
    seed: int


@dataclass(frozen=True)
class Chunk:
    """Requests that are generated together and stored in one file."""

    index: int
    seed: int
    requests: tuple[Request, ...]

    def key(self) -> dict[str, Any]:
        """Return the requests, on which the file depends besides the settings; ready for JSON."""
        return {"requests": [[request.item.id, request.sample] for request in self.requests]}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A benchmark to sample.

    Attributes:
        benchmark, items: the benchmark and its items, at least one.
        samples: completions of each item.
        max_new_tokens: the most tokens of a completion.
        longest: the longest prompt in tokens.
    """

    benchmark: Benchmark
    items: Sequence[Item]
    samples: int
    max_new_tokens: int
    longest: int

    @property
    def total(self) -> int:
        """The number of completions."""
        return len(self.items) * self.samples

    def key(self) -> dict[str, Any]:
        """Return the settings of the samples besides the model and `Sampling`; ready for JSON."""
        return {
            "items": len(self.items),
            "prompts": hash_prompts(self.items),
            "samples": self.samples,
            "max_new_tokens": self.max_new_tokens,
        }

    def chunks(self, batch_size: int, seed: int) -> Iterator[Chunk]:
        """Yield all requests, item by item, `batch_size` at a time; the last chunk may be shorter."""
        name = self.benchmark.name
        requests = [
            Request(item, sample, seed_of(seed, name, item.id, sample))
            for item in self.items
            for sample in range(self.samples)
        ]
        for index, start in enumerate(range(0, len(requests), batch_size)):
            yield Chunk(index, seed_of(seed, name, "chunk", index), tuple(requests[start : start + batch_size]))


def sampling_settings(sampling: Sampling, backend: str) -> dict[str, Any]:
    """Return the settings on which the samples of all benchmarks depend, besides the model and its device."""
    names = ("temperature", "top_p", "batch_size", "seed")
    return {"backend": backend, **{name: getattr(sampling, name) for name in names}}


def seed_of(*parts: object) -> int:
    """Return a seed below 2^32 that depends on the parts alone."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4], "big")


def hash_prompts(items: Sequence[Item]) -> str:
    """Return a hash of ids, prompts and images, which does not change when a reference answer is corrected."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.id, item.prompt]).encode())
        for image in item.images:
            digest.update(f"{image.mode} {image.size}".encode() + image.tobytes())
    return digest.hexdigest()[:16]


def room(context: int | None, longest: int, requested: int | None, benchmark: str) -> int:
    """Return `max_new_tokens` for prompts of up to `longest` tokens in a model's context (tokens; None: not known).

    Raises:
        ValueError: `requested` or a single token does not fit.
    """
    left = MAX_NEW_TOKENS if context is None else context - longest
    if left < 1:
        raise ValueError(
            f"{benchmark}: a prompt has {longest} tokens and the model's context {context}: nothing fits. Choose a "
            "model with a longer context."
        )
    if requested is None:
        return min(MAX_NEW_TOKENS, left)
    if context is not None and requested > left:
        raise ValueError(
            f"{benchmark}: max_new_tokens={requested} beside prompts of up to {longest} tokens exceeds the model's "
            f"context of {context}: give at most {left}, or leave it out."
        )
    return requested
