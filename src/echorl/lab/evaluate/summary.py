"""Numbers of a table from scored samples: avg@k, pass@k, maj@k, lengths, and reasons of failures."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.metrics import (
    item_majority,
    item_means,
    item_pass_at_k,
    mean_of_items,
    standard_error,
)
from echorl.lab.evaluate.store import Rows, read_samples
from echorl.lab.statistics import wilson

NEEDED = ("item", "sample", "tokens", "truncated", "answer", "score", "reason")
DISTRIBUTIONS = {"in": "ID", "out": "OOD"}
"""The paper's two averages: in distribution, and out of it."""


@dataclass(frozen=True)
class Scored:
    """A benchmark's scored samples.

    Attributes:
        rows: item by item, the same number of samples each.
        meta: the result of `grading.describe`.
    """

    rows: Rows
    meta: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Scored:
        """Read a file of scored samples.

        Raises:
            ValueError: the file is not readable, or holds something else.
        """
        rows, meta = read_samples(path, NEEDED)
        if "benchmark" not in meta or not rows or any(name not in rows[0] for name in NEEDED):
            raise ValueError(f"{path} holds no scored samples: run its evaluation to the end first.")
        if any(row["score"] is None or row["item"] is None for row in rows):
            raise ValueError(f"{path} is damaged (a sample has no score): delete it and evaluate again.")
        if len(rows) != meta["settings"]["items"] * meta["settings"]["samples"]:
            raise ValueError(f"{path} lacks samples (it has {len(rows)}): delete it and evaluate again.")
        return cls(rows, meta)

    @property
    def name(self) -> str:
        return self.meta["benchmark"]["name"]

    @property
    def samples(self) -> int:
        """The number of samples of each item."""
        return self.meta["settings"]["samples"]

    @property
    def items(self) -> list[str]:
        """The items' ids."""
        return [item["item"] for item in self.rows[:: self.samples]]

    @cached_property
    def verdicts(self) -> list[list[bool]]:
        """Successes (samples with a score of 1), a list an item."""
        return self._by_item([row["score"] >= 1 for row in self.rows])

    def item_values(self) -> dict[str, list[float]]:
        """Return measure -> one number in [0, 1] an item: avg@k, pass@1, pass@2, pass@4, ... up to k, maj@k."""
        k = self.samples
        powers = [1 << power for power in range(k.bit_length())]
        return {
            f"avg@{k}": item_means(self.verdicts),
            **{f"pass@{power}": item_pass_at_k(self.verdicts, power) for power in powers},
            f"maj@{k}": item_majority(self._by_item([row["answer"] for row in self.rows]), self.verdicts),
        }

    def summary(self) -> dict[str, Any]:
        """Return all numbers, ready for JSON."""
        rows, num = self.rows, len(self.rows)
        benchmark, settings = self.meta["benchmark"], self.meta["settings"]
        return {
            **{name: benchmark[name] for name in ("title", "grader", "distribution")},
            **{name: settings[name] for name in ("items", "samples", "max_new_tokens", "prompts")},
            "measures": {name: measure(values) for name, values in self.item_values().items()},
            "mean_score": statistics.fmean(row["score"] for row in rows),
            "mean_tokens": statistics.fmean(row["tokens"] for row in rows),
            "truncated": sum(row["truncated"] for row in rows) / num,
            "no_answer": sum(not row["answer"] for row in rows) / num,
            "reasons": dict(sorted(Counter(row["reason"] for row in rows if row["reason"]).items())),
        }

    def _by_item(self, values: Sequence[Any]) -> list[list[Any]]:
        return [list(values[start : start + self.samples]) for start in range(0, len(values), self.samples)]


def measure(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean over items with its standard error and 95 % interval, both clustered by item."""
    return {**vars(mean_of_items(values)), "standard_error": standard_error(values)}


def averages(benchmarks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return averages of avg@k over two or more benchmarks in or out of distribution, each with equal weight.

    The standard error is that of independent benchmarks; the interval is Wilson's at the number of independent trials
    that would have it (at the number of items without any spread). None where a benchmark has no error.
    """
    results = {}
    for kind in DISTRIBUTIONS:
        members = {name: row for name, row in benchmarks.items() if row["distribution"] == kind}
        if len(members) < 2:
            continue
        means = [row["measures"][f"avg@{row['samples']}"] for row in members.values()]
        errors = [mean["standard_error"] for mean in means]
        value = statistics.fmean(mean["value"] for mean in means)
        error = None if None in errors else math.sqrt(math.fsum(e**2 for e in errors)) / len(errors)
        low, high = None, None
        if error is not None:
            num = sum(row["items"] for row in members.values())
            low, high = wilson(value, value * (1 - value) / error**2 if error > 0 else num)
        estimate = {"value": value, "low": low, "high": high, "standard_error": error}
        results[kind] = {"benchmarks": list(members), **estimate}
    return results
