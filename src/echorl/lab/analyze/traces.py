"""Solutions scored by the policy: entropies and log-probabilities, token by token, step by step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
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
from echorl.lab.logs.layouts import Rollout
from echorl.lab.mine.plan import Reading
from echorl.lab.mine.scorer import Scorer, Tokens, tokenize
from echorl.models.loading import tokenizer_of
from echorl.support.folder import json_parts

EXPERT, RIGHT, WRONG = KINDS = ("demonstration", "right", "wrong")
"""Kinds of solutions: the expert's, and the policy's own by the verifier's verdict."""
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
    """Return the scores of all traces, made in parts of `size`; parts that are in `folder` are read.

    None for a trace that is too long for the model's context or has no step (white space alone). `start` loads the
    model, for the first part that is missing. `key` holds what the scores depend on besides the traces.
    """
    parts, load = json_parts(folder), cache(start)
    delimiters = StepDelimiters.from_tokenizer(checkpoint.processing_class)
    advance = view.begin("scoring solutions", len(traces))
    scores: list[Scores | None] = []
    for index, first in enumerate(range(0, len(traces), size)):
        part = traces[first : first + size]
        digest = short_hash(*(json.dumps([trace.item.id, trace.kind, trace.text, trace.ended]) for trace in part))
        parts.ensure(index, {**key, "traces": digest}, partial(_score, part, checkpoint, load, delimiters))
        scores += [None if row is None else Scores(**row) for row in parts.load(index)]
        advance(len(scores))
    return scores


def _score(
    traces: Sequence[Trace], checkpoint: Checkpoint, load: Callable[[], Scorer], delimiters: StepDelimiters
) -> list[dict[str, Any] | None]:
    tokens = [_tokens(trace, checkpoint) for trace in traces]
    scores = load().scores(tokens, checkpoint.context)
    tokenizer = tokenizer_of(checkpoint.processing_class)
    return [_sum_up(each.response, *row, tokenizer, delimiters) for each, row in zip(tokens, scores, strict=True)]


def _tokens(trace: Trace, checkpoint: Checkpoint) -> Tokens:
    """Return the tokens of the text behind the chat template's opening, with the end token if the policy came to it."""
    response = trace.text.removeprefix(checkpoint.opening(trace.item))
    rollout = Rollout(checkpoint.prompt(trace.item), response, 0.0, trace.item.id, ("", 0))
    return tokenize([rollout], checkpoint.processing_class, Reading(end=trace.ended))[0]


def _sum_up(
    response: list[int], logp: Tensor, entropy: Tensor, tokenizer: Any, delimiters: StepDelimiters
) -> dict[str, Any] | None:
    ids = torch.tensor([response])
    steps = segment_steps(ids, torch.ones_like(ids), delimiters)
    count, has_score = int(steps.max()) + 1, entropy.isfinite()
    if not count or not has_score.any():
        return None
    return asdict(
        Scores(
            texts=step_texts(tokenizer, response, steps[0].tolist()),
            lengths=step_lengths(steps, count)[0].tolist(),
            step_entropy=step_entropy(entropy.unsqueeze(0), steps, num_steps=count)[0].tolist(),
            entropy=float(entropy[has_score].double().mean()),
            nll=-float(logp[has_score].double().sum()),
            profile=tenths(entropy[has_score]),
            nll_profile=tenths(-logp[has_score]),
        )
    )


def step_texts(tokenizer: Any, ids: Sequence[int], steps: Sequence[int]) -> list[str]:
    """Return the text of each step, without special tokens; together they are the text.

    A step's text is the text that its tokens add to the steps before: some tokenizers drop the first blank of a piece
    that is decoded alone.
    """
    ends = [place for place, step in enumerate(steps, 1) if place == len(steps) or steps[place] != step]
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    whole = ["", *(tokenizer.decode(list(ids[:end]), **options) for end in ends)]
    return [after[len(before) :] for before, after in itertools.pairwise(whole)]


def tenths(values: Tensor) -> list[float]:
    """Return the mean of each tenth of a sequence of at least one value; a value on a border counts on both sides.

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
