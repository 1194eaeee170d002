"""Metrics of a generation batch that was sampled in several rounds: the rounds' entries merged into one."""

from __future__ import annotations

import math

from echorl.core.statistics import GROUPS_WITH_GRADIENT

TOTALS = ("num_tokens",)
"""Running totals, which TRL sets and does not append."""


class RoundMetrics:
    """Removes the entries that each round appends to a trainer's metrics, and appends one entry for the batch.

    Without it a round of one prompt would count as much as a round of all in the mean over a logging interval.
    """

    def __init__(self, metrics: dict[str, list[float]]) -> None:
        self.metrics = metrics
        self.before = {key: len(values) for key, values in metrics.items()}
        self.taken: dict[str, list[tuple[float, int]]] = {}

    def take(self, num_prompts: int) -> None:
        """Remove the entries of a round of `num_prompts` prompts."""
        for key, values in self.metrics.items():
            start = self.before.get(key, 0)
            if key not in TOTALS and len(values) > start:
                self.taken.setdefault(key, []).extend((value, num_prompts) for value in values[start:])
                del values[start:]

    def give_back(self) -> None:
        """Append the batch's entries."""
        for key, entries in self.taken.items():
            self.metrics[key].append(merge(key, entries))


def merge(name: str, entries: list[tuple[float, int]]) -> float:
    """Return one value of (value, weight) pairs: the sum of counts, the extreme of extremes, else the weighted mean.

    >>> merge("reward", [(1.0, 3), (0.0, 1)]), merge("echo/clips/mixed", [(3.0, 3), (1.0, 1)])
    (0.75, 4.0)
    """
    entries = [entry for entry in entries if not math.isnan(entry[0])] or entries[:1]
    values = [value for value, _ in entries]
    last = name.rsplit("/", 1)[-1]
    if len(values) == 1:
        return values[0]
    if "/clips/" in name or name == GROUPS_WITH_GRADIENT:
        return sum(values)
    if last.startswith(("min", "max")):
        return min(values) if last.startswith("min") else max(values)
    return sum(value * weight for value, weight in entries) / sum(weight for _, weight in entries)
