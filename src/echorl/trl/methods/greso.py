"""GRESO's hooks: prompts that were degenerate at their last visits are skipped, and others sampled in their place."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from datasets import IterableDataset
from torch import Tensor

from echorl.core.refusals import refuse_if
from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.methods.greso import KINDS, Kind
from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.methods.base import Row, Sample
from echorl.trl.methods.dapo import DynamicSamplingHooks
from echorl.trl.sampling.memory import MemoryHooks
from echorl.trl.sampling.row_keys import group_keys, row_key
from echorl.trl.sampling.stream import PromptStream
from echorl.trl.verifiers import Verifiers


class FilteredStream(PromptStream):
    """A stream without the prompts that `is_skipped`; once it has passed a whole epoch it takes any."""

    def __init__(self, size: int, seed: int, is_skipped: Callable[[int], bool]) -> None:
        super().__init__(size, seed)
        self.is_skipped = is_skipped

    def draw(self, count: int) -> list[int]:
        numbers, last = list[int](), self.drawn + self.size
        while len(numbers) < count:
            (number,) = super().draw(1)
            if self.drawn > last or not self.is_skipped(number):
                numbers.append(number)
        return numbers


class SkippingHooks(MemoryHooks):
    """Replaces the loader's prompts that are skipped by prompts of a stream.

    Remembers (kind, visits) of the prompts whose last visits were degenerate, all of one kind. The decisions are the
    same on every process.
    """

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        name = "a training set without random access (load its rows as a Dataset)"
        refuse_if({name: isinstance(context.rows, IterableDataset)}, "method='greso' cannot be combined with {}.")
        self.examples, self.seed = context.rows, context.args.seed
        self.stream: PromptStream = FilteredStream(
            len(context.rows), self.seed, lambda number: self._skips(self._example(number))
        )
        self.columns: list[str] = []
        self.asked = 0  # prompts that came up so far
        self.p: dict[Kind, float] = {"all_success": self.method.visit_solved, "all_fail": self.method.visit_failed}
        self.counts: Counter[str] = Counter()  # groups of the batch, and its prompts that came up or were skipped

    def collect(self, rows: list[Row], sample: Sample, context: Context) -> dict[str, Any]:
        self.counts, self.columns = Counter(), list(rows[0])
        is_later_epoch = self.asked >= len(self.examples)
        batch = super().collect(self._replace(rows, context), sample, context)
        shares = {f"method/visit_{kind}": p for kind, p in self.p.items()}
        context.log.update({**shares, "method/skipped": self.counts["skipped"] / self.counts["asked"]})
        if is_later_epoch:
            for kind in KINDS:
                self.p[kind] = self.method.adapted(self.p[kind], kind, self.counts[kind], self.counts["groups"])
        return batch

    def _replace(self, rows: list[Row], context: Context) -> list[Row]:
        """Return this process's rows, with other prompts in the groups of those that are skipped."""
        skipped = [group for group, key in enumerate(group_keys(rows, context)) if self._skips_key(key)]
        replacements = dict(zip(skipped, self.stream.draw(len(skipped)), strict=True))
        first, size = context.comm.rank * len(rows), context.args.num_generations
        groups = [(first + row) // size for row in range(len(rows))]
        return [
            self._example(replacements[group]) if group in replacements else row
            for group, row in zip(groups, rows, strict=True)
        ]

    def _example(self, number: int) -> Row:
        return {name: value for name, value in self.examples[number].items() if name in self.columns}

    def _skips(self, example: Row) -> bool:
        return self._skips_key(row_key(example))

    def _skips_key(self, key: int) -> bool:
        """Draw whether a prompt that comes up is skipped."""
        self.asked += 1
        kind, visits = self.entries.get(key, (KINDS[0], 0))
        uniform = random.Random(f"greso {self.seed} {self.asked}").random()
        skips = uniform >= self.method.visit_probability(self.p[kind], visits)
        self.counts.update(asked=1, skipped=int(skips))
        return skips

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages unchanged, and remember the kinds of the groups."""
        solved, failed = (rollouts.groups.of_kind(kind).tolist() for kind in KINDS)
        for key, all_success, all_fail in zip(capture.plan.keys, solved, failed, strict=True):
            kind: Kind | None = "all_success" if all_success else "all_fail" if all_fail else None
            history = self.method.after(self.entries.pop(key, None), kind)
            if history is not None:
                self.entries[key] = history
        self.counts.update(all_success=sum(solved), all_fail=sum(failed), groups=len(solved))
        return advantages

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "asked": self.asked, "p": self.p, "drawn": self.stream.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if state:
            self.asked, self.p, self.stream.drawn = state["asked"], state["p"], state["drawn"]


class SkippingRoundsHooks(SkippingHooks, DynamicSamplingHooks):
    """Skips prompts in each round of dynamic sampling."""

    once: ClassVar = {"dynamic_sampling": False}
