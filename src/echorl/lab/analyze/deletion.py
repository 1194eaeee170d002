"""`echorl analyze deletion`: solutions without some of their steps, and the policy's success from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from echorl.lab.analyze.steps import (
    ORDERS,
    PERCENTS,
    kept_steps,
    num_body_steps,
    num_removed,
    removal_order,
    removed_share,
    shows,
)
from echorl.lab.analyze.traces import Scores, Trace
from echorl.lab.evaluate.benchmarks import Item
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.lab.evaluate.checkpoint import THINK, Checkpoint
from echorl.lab.evaluate.plan import seed_of
from echorl.lab.evaluate.sampling import render
from echorl.models.loading import tokenizer_of


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A trace and its cuts.

    Attributes:
        trace: the solution.
        texts, lengths: of the steps before its answer, at least one.
        cuts: order -> for each of PERCENTS the steps kept.
    """

    trace: Trace
    texts: Sequence[str]
    lengths: Sequence[int]
    cuts: Mapping[str, Sequence[tuple[int, ...]]]

    def different_cuts(self) -> list[tuple[int, ...]]:
        """Return the cuts in order, without repetition."""
        return list(dict.fromkeys(kept for cuts in self.cuts.values() for kept in cuts))

    def kept_text(self, kept: Sequence[int]) -> str:
        return "".join(self.texts[k] for k in kept)

    def item_id(self, kept: Sequence[int]) -> str:
        """Return the name of the request to go on from these steps; orders that keep the same steps share it."""
        return f"{self.trace.item.id}.{self.trace.kind}{self.trace.number}.{short_hash(json.dumps(list(kept)))}"


def delete(trace: Trace, scores: Scores, seed: int) -> Deleted | None:
    """Return all cuts of a trace; None where its answer comes in the first step, so that there is nothing to delete."""
    body = num_body_steps(scores.texts)
    if body == 0:
        return None
    trace_seed = seed_of(seed, trace.item.id, trace.kind, trace.number)
    cuts = {}
    for name in ORDERS:
        order = removal_order(scores.step_entropy[:body], name, trace_seed)
        cuts[name] = [kept_steps(order, num_removed(body, percent)) for percent in PERCENTS]
    return Deleted(trace=trace, texts=scores.texts[:body], lengths=scores.lengths[:body], cuts=cuts)


def prefixed_items(solutions: Sequence[Deleted], checkpoint: Checkpoint) -> list[Item]:
    """Return an item for each different cut of each trace: the prompt as the model sees it, and the kept steps.

    The reference answer is that of the trace's item. Prompt and kept steps are one text.
    """
    items: dict[str, Item] = {}
    for solution in solutions:
        opening = opening_text(checkpoint, solution.trace.item)
        for kept in solution.different_cuts():
            item_id, prompt = solution.item_id(kept), opening + solution.kept_text(kept)
            items[item_id] = replace(solution.trace.item, id=item_id, prompt=prompt)
    return list(items.values())


def open_thinking(solutions: Sequence[Deleted], checkpoint: Checkpoint) -> dict[str, str]:
    """Return item's id of each cut -> "<think>" where the policy goes on inside thinking, else "", for the grader.

    An answer before the end of thinking does not count, whether the template or a kept step began it.
    """
    begun = {}
    for solution in solutions:
        opening = checkpoint.opening(solution.trace.item)
        for kept in solution.different_cuts():
            text = opening + solution.kept_text(kept)
            begun[solution.item_id(kept)] = THINK if text.rfind(THINK) > text.rfind("</think>") else ""
    return begun


def opening_text(checkpoint: Checkpoint, item: Item) -> str:
    """Return the prompt with the chat template applied, without a begin token that the tokenizer will write again."""
    rendered = render(checkpoint.processing_class, checkpoint.prompt(item))
    tokenizer = tokenizer_of(checkpoint.processing_class)
    if rendered.add_special_tokens or tokenizer.bos_token is None:
        return rendered.text
    adds_bos = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return rendered.text.removeprefix(tokenizer.bos_token) if adds_bos else rendered.text


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Results of a trace's cuts, for each order at each of PERCENTS.

    Attributes:
        item, kind: of the trace.
        success: mean verdict of what the policy wrote from there.
        tokens: share of the tokens before the answer that were deleted.
        shown: whether the answer stands in the steps that are kept.
    """

    item: str
    kind: str
    success: Mapping[str, list[float]]
    tokens: Mapping[str, list[float]]
    shown: Mapping[str, list[float]]


def outcome(deleted: Deleted, verdicts: Mapping[str, Sequence[bool]], answer: str) -> Outcome:
    """Return the outcome of a trace from the verdicts on completions by item's id."""

    def at_each_cut(function: Callable[[tuple[int, ...]], float]) -> dict[str, list[float]]:
        return {order: [float(function(kept)) for kept in cuts] for order, cuts in deleted.cuts.items()}

    return Outcome(
        item=deleted.trace.item.id,
        kind=deleted.trace.kind,
        success=at_each_cut(lambda kept: fmean(verdicts[deleted.item_id(kept)])),
        tokens=at_each_cut(lambda kept: removed_share(deleted.lengths, kept)),
        shown=at_each_cut(lambda kept: shows(deleted.kept_text(kept), answer)),
    )
