"""Solutions scored by the policy: entropies and log-probabilities, token by token, step by step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echorl.core.entropy import step_entropy, step_lengths
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.lab.evaluate.benchmarks import Item
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.jobs import View
from echorl.lab.mine.layouts import Rollout
from echorl.lab.mine.scorer import Reading, Scorer, Tokens, tokenize
from echorl.models.loading import tokenizer_of
from echorl.support.folder import json_parts

EXPERT, RIGHT, WRONG = KINDS = ("demonstration", "right", "wrong")
"""Whose solution: the expert's, or the policy's own by the verifier's verdict."""
TENTHS = 10


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Solution of an item; `number` counts those of its kind from 0. `ended`: it was not cut off at a limit."""

    item: Item
    kind: str
    number: int
    text: str
    ended: bool = True


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Entropies and log-probabilities of a trace under the policy; K steps.

    Attributes:
        texts: of the steps.
        lengths: of the steps, in tokens; the end token belongs to the last.
        step_entropy: of the steps, the mean of their tokens', nats.
        entropy: mean over all tokens, nats.
        nll: -log-probability of the whole text with its end, nats.
        profile, nll_profile: entropy and -log-probability a token in each tenth of the text.
    """

    texts: list[str]
    lengths: list[int]
    step_entropy: list[float]
    entropy: float
    nll: float
    profile: list[float]
    nll_profile: list[float]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)


def score_traces(
    traces: Sequence[Trace],
    checkpoint: Checkpoint,
    start: Callable[[], Scorer],
    folder: Path,
    key: Mapping[str, Any],
    *,
    size: int,
    view: View,
) -> list[Scores | None]:
    """Return the scores of all traces, made a part of `size` at a time; parts that are in `folder` are not made again.

    None for a trace that is too long for the model's context or has no step (white space alone). `start` loads the
    model, for the first part that is not there. `key` holds what the scores depend on besides the traces.
    """
    parts, reader = json_parts(folder), _Reader(checkpoint, start)
    advance = view.begin("scoring solutions", len(traces))
    scores: list[Scores | None] = []
    for index, begin in enumerate(range(0, len(traces), size)):
        part = traces[begin : begin + size]
        digest = short_hash(*(json.dumps([trace.item.id, trace.kind, trace.text, trace.ended]) for trace in part))
        parts.ensure(index, {**key, "traces": digest}, partial(reader.read, part))
        scores += [None if row is None else Scores(**row) for row in parts.load(index)]
        advance(len(scores))
    return scores


class _Reader:
    """Scores parts; the model is loaded for the first one."""

    def __init__(self, checkpoint: Checkpoint, start: Callable[[], Scorer]) -> None:
        self.checkpoint, self._start = checkpoint, start
        self.delimiters = StepDelimiters.from_tokenizer(checkpoint.processing_class)
        self._scorer: Scorer | None = None

    def read(self, traces: Sequence[Trace]) -> list[dict[str, Any] | None]:
        self._scorer = self._scorer or self._start()
        tokens = [self._tokens(trace) for trace in traces]
        context = self.checkpoint.context
        fits = [context is None or len(one) <= context for one in tokens]
        scores = iter(self._scorer.scores([one for one, ok in zip(tokens, fits, strict=True) if ok]))
        return [self._one(one, *next(scores)) if ok else None for one, ok in zip(tokens, fits, strict=True)]

    def _tokens(self, trace: Trace) -> Tokens:
        """Return the tokens, with the end token unless the policy did not come to it."""
        rollout, reading = _as_rollout(trace, self.checkpoint), Reading(end=trace.ended)
        return tokenize([rollout], self.checkpoint.processing_class, reading)[0]

    def _one(self, tokens: Tokens, logp: Tensor, entropy: Tensor) -> dict[str, Any] | None:
        ids = torch.tensor([tokens.response])
        steps = segment_steps(ids, torch.ones_like(ids), self.delimiters)
        count = int(steps.max()) + 1
        known = entropy.isfinite()
        if not count or not bool(known.any()):
            return None
        return asdict(
            Scores(
                texts=step_texts(tokenizer_of(self.checkpoint.processing_class), tokens.response, steps[0].tolist()),
                lengths=step_lengths(steps, count)[0].tolist(),
                step_entropy=step_entropy(entropy.unsqueeze(0), steps, num_steps=count)[0].tolist(),
                entropy=float(entropy[known].double().mean()),
                nll=-float(logp[known].double().sum()),
                profile=tenths(entropy[known]),
                nll_profile=tenths(-logp[known]),
            )
        )


def _as_rollout(trace: Trace, checkpoint: Checkpoint) -> Rollout:
    return Rollout(checkpoint.prompt(trace.item), bare_text(trace, checkpoint), 0.0, trace.item.id, ("", 0))


def bare_text(trace: Trace, checkpoint: Checkpoint) -> str:
    """The text behind what the chat template wrote of the response already."""
    return trace.text.removeprefix(checkpoint.opening(trace.item))


def step_texts(tokenizer: Any, ids: Sequence[int], steps: Sequence[int]) -> list[str]:
    """The text of each step, without special tokens; together they are the text.

    A step's text is what its tokens add to the text before: some tokenizers drop the first blank of a piece that is
    decoded alone.
    """
    ends = [place for place, step in enumerate(steps, 1) if place == len(steps) or steps[place] != step]
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    whole = ["", *(tokenizer.decode(list(ids[:end]), **options) for end in ends)]
    return [after[len(before) :] for before, after in itertools.pairwise(whole)]


def tenths(values: Tensor) -> list[float]:
    """The mean of each tenth of a sequence of at least one value; a value that spans a border counts on both sides.

    >>> tenths(torch.arange(10.0))
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    >>> tenths(torch.tensor([1.0, 3.0]))[4:6]
    [1.0, 3.0]
    """
    sums = torch.nn.functional.pad(values.double().cumsum(0), (1, 0))
    places = torch.arange(TENTHS + 1, dtype=torch.float64) * len(values) / TENTHS
    low = places.floor().long().clamp(max=len(values) - 1)
    below = sums[low] + (places - low) * (sums[low + 1] - sums[low])
    means = (below[1:] - below[:-1]) * TENTHS / len(values)
    return [round(mean, 9) for mean in means.tolist()]
