"""Where a rollout is taken up again, and how much of its outcome one step decides: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from echorl.analysis.golden.steps import num_body_steps
from echorl.analysis.golden.traces import Scores, Trace, step_texts
from echorl.core.steps import StepDelimiters, segment_steps

HIGH, LOW = ENDS = ("high", "low")
"""A rollout's step of highest and of lowest mean entropy, the answer's aside."""

Verdicts = Sequence[Sequence[bool]]
"""[V][F]: of F completions of each of V draws of a step."""


@dataclass(frozen=True, kw_only=True)
class Fork:
    """A rollout's text up to one of its steps.

    Attributes:
        trace: the rollout.
        end: "high" or "low", by the step's entropy.
        before: the text before the step.
        entropy: of the step, nats a token.
        place: the share of the tokens before the answer that stand before the step.
        tokens: of the step.
    """

    trace: Trace
    end: str
    before: str
    entropy: float
    place: float
    tokens: int

    @property
    def name(self) -> str:
        return f"{self.trace.item.id}.{self.trace.kind}{self.trace.number}.{self.end}"


def find_forks(trace: Trace, scores: Scores) -> list[Fork]:
    """The steps of highest and of lowest entropy before the answer, of equal ones the first.

    [] with fewer than two steps there, or where all have the same entropy: there is no high and no low.
    """
    own = scores.step_entropy[: (body := num_body_steps(scores.texts))]
    if len(set(own)) < 2:
        return []
    steps = {HIGH: max(range(body), key=own.__getitem__), LOW: min(range(body), key=own.__getitem__)}
    total = sum(scores.lengths[:body])
    return [
        Fork(
            trace=trace,
            end=end,
            before="".join(scores.texts[:step]),
            entropy=own[step],
            place=sum(scores.lengths[:step]) / total,
            tokens=scores.lengths[step],
        )
        for end, step in steps.items()
    ]


def first_step(text: str, tokenizer: Any, delimiters: StepDelimiters) -> str:
    """The text's first step; all of it where it has one or none."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        return text
    tokens = torch.tensor([ids])
    steps = segment_steps(tokens, torch.ones_like(tokens), delimiters)[0].tolist()
    texts = step_texts(tokenizer, ids, steps)
    return texts[0] if len(texts) > 1 else text


@dataclass(frozen=True)
class Parts:
    """Unbiased parts of an outcome's variance at a fork.

    Attributes:
        success: the mean verdict.
        between: Var of the success probability over draws of the step; it can be estimated below 0.
        total: p (1 - p), the variance of one verdict.
    """

    success: float
    between: float
    total: float


def variance_parts(verdicts: Verdicts) -> Parts:
    """From products of different verdicts, so that none meets itself.

    E[y y'] of two completions of one draw is E[V^2], of two draws E[V]^2, with V the draw's success probability.

    Raises:
        ValueError: fewer than two draws, or than two completions of each.

    >>> variance_parts([[True, True], [False, False]]), variance_parts([[True, False], [True, False]])
    (Parts(success=0.5, between=0.5, total=0.5), Parts(success=0.5, between=-0.25, total=0.25))
    """
    draws, completions = len(verdicts), len(verdicts[0])
    if draws < 2 or completions < 2:
        raise ValueError(f"{draws} draws with {completions} completions: two or more of both are needed.")
    sums = [sum(own) for own in verdicts]
    same = sum(s * s - s for s in sums) / (draws * completions * (completions - 1))
    different = (sum(sums) ** 2 - sum(s * s for s in sums)) / (completions**2 * draws * (draws - 1))
    mean = sum(sums) / (draws * completions)
    # y y' of two draws has the expectation p^2, so y - y y' that of the variance.
    return Parts(mean, same - different, mean - different)
