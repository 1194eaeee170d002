"""`echorl analyze deletion`: what is left of a solution when its steps go, and what the policy makes of that."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    """A trace and what is left of it: cuts[order][i] are the steps that are kept at PERCENTS[i].

    Attributes:
        trace: the solution.
        texts, lengths: of the steps before its answer, at least one.
        cuts: order -> for each of PERCENTS the steps kept.
    """

    trace: Trace
    texts: Sequence[str]
    lengths: Sequence[int]
    cuts: Mapping[str, Sequence[tuple[int, ...]]]

    @property
    def name(self) -> str:
        return f"{self.trace.item.id}.{self.trace.kind}{self.trace.number}"

    @property
    def rests(self) -> list[tuple[int, ...]]:
        """The different cuts, in order."""
        return list(dict.fromkeys(kept for cuts in self.cuts.values() for kept in cuts))

    def kept_text(self, kept: Sequence[int]) -> str:
        return "".join(self.texts[k] for k in kept)

    def item_id(self, kept: Sequence[int]) -> str:
        """Names the request to go on from these steps; the same for every order that leaves them."""
        return f"{self.name}.{short_hash(json.dumps(list(kept)))}"

    def removed(self, kept: Sequence[int]) -> float:
        """Share of the tokens before the answer that went."""
        return removed_share(self.lengths, kept)


def delete(trace: Trace, scores: Scores, seed: int) -> Deleted | None:
    """All cuts of a trace; None where its answer comes in the first step, so that there is nothing to delete."""
    body = num_body_steps(scores.texts)
    if body == 0:
        return None
    own_seed = seed_of(seed, trace.item.id, trace.kind, trace.number)
    orders = {name: removal_order(scores.step_entropy[:body], name, own_seed) for name in ORDERS}
    cuts = {
        name: [kept_steps(order, num_removed(body, percent)) for percent in PERCENTS] for name, order in orders.items()
    }
    return Deleted(trace=trace, texts=scores.texts[:body], lengths=scores.lengths[:body], cuts=cuts)


def prefixed_items(deleted: Sequence[Deleted], checkpoint: Checkpoint) -> list[Item]:
    """One item for each different rest of each trace, in order: the prompt as the model sees it, then what is kept.

    The reference answer is the trace's item's. Prompt and kept steps are one text.
    """
    items: dict[str, Item] = {}
    for one in deleted:
        opening = opening_text(checkpoint, one.trace.item)
        for kept in one.rests:
            prompt = opening + one.kept_text(kept)
            items[one.item_id(kept)] = replace(one.trace.item, id=one.item_id(kept), prompt=prompt)
    return list(items.values())


def open_thinking(deleted: Sequence[Deleted], checkpoint: Checkpoint) -> dict[str, str]:
    """Item's id of each rest -> "<think>" where the policy goes on inside thinking, else "": it begins what is judged.

    Whether the template or a kept step began the thinking, an answer before its end is none.
    """
    begun = {}
    for one in deleted:
        opening = checkpoint.opening(one.trace.item)
        for kept in one.rests:
            text = opening + one.kept_text(kept)
            begun[one.item_id(kept)] = THINK if text.rfind(THINK) > text.rfind("</think>") else ""
    return begun


def opening_text(checkpoint: Checkpoint, item: Item) -> str:
    """The prompt with the chat template applied, without a begin token that the tokenizer will write again."""
    rendered = render(checkpoint.processing_class, checkpoint.prompt(item))
    tokenizer = tokenizer_of(checkpoint.processing_class)
    if rendered.add_special_tokens or tokenizer.bos_token is None:
        return rendered.text
    writes_own = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return rendered.text.removeprefix(tokenizer.bos_token) if writes_own else rendered.text


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Return the results of a trace's cuts, for each order at each of PERCENTS.

    Attributes:
        item, kind: of the trace.
        success: mean verdict of what the policy wrote from there.
        tokens: share of the tokens before the answer that went.
        shown: whether the answer stands in what was left.
    """

    item: str
    kind: str
    success: Mapping[str, list[float]]
    tokens: Mapping[str, list[float]]
    shown: Mapping[str, list[float]]


def outcome(deleted: Deleted, verdicts: Mapping[str, Sequence[bool]], answer: str) -> Outcome:
    """Put the verdicts (item's id -> one a completion) to the cuts that they belong to."""

    def each(function: Any) -> dict[str, list[float]]:
        return {order: [float(function(kept)) for kept in cuts] for order, cuts in deleted.cuts.items()}

    return Outcome(
        item=deleted.trace.item.id,
        kind=deleted.trace.kind,
        success=each(lambda kept: _mean(verdicts[deleted.item_id(kept)])),
        tokens=each(deleted.removed),
        shown=each(lambda kept: shows(deleted.kept_text(kept), answer)),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
