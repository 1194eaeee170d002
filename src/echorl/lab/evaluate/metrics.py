"""Numbers from verdicts: pass@1 with an interval clustered by item, unbiased pass@k, maj@k, paired differences."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from echorl.lab.statistics import wilson

Verdicts = Sequence[Sequence[bool]]
"""Successes, one sequence an item (a prompt), one verdict a completion."""

MAX_DRAWS = 1 << 22
"""Numbers that a bootstrap holds at once: 64 MB."""
RESAMPLES = 4000
"""Draws of a bootstrap."""


@dataclass(frozen=True)
class Estimate:
    """Number with its 95 % interval."""

    value: float
    low: float
    high: float


def pass_at_1(verdicts: Verdicts) -> Estimate:
    """Return the mean over items of their share of successes, with an interval clustered by item.

    Completions of one item are not independent, so the standard error is that of the items' means,
    sd(means) / sqrt(N). The interval is Wilson's at the number of independent trials that would have that error, p (1 -
    p) / se^2, so it stays within [0, 1]; without any spread (p is 0 or 1, or all means agree), that number is N.

    Raises:
        ValueError: no item, or an item without a completion.

    >>> estimate = pass_at_1([[True, True], [False, True], [False, False], [True, False]])
    >>> estimate.value, round(estimate.low, 4), round(estimate.high, 4)
    (0.5, 0.1876, 0.8124)
    """
    return mean_of_items(item_means(verdicts))


def mean_of_items(values: Sequence[float]) -> Estimate:
    """Return the mean of one number in [0, 1] an item, with the interval of `pass_at_1`.

    Raises:
        ValueError: no item.
    """
    if not values:
        raise ValueError("nothing to average: give at least one item.")
    p, trials = statistics.fmean(values), float(len(values))
    error = standard_error(values)
    if error is not None and min(values) < max(values):  # the error of equal numbers may differ from 0 by rounding
        trials = p * (1 - p) / error**2
    return Estimate(p, *wilson(p, trials))


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean over items, sd(values) / sqrt(N); None for fewer than two items.

    >>> round(standard_error([1.0, 0.5, 0.0, 0.5]), 4)
    0.2041
    """
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def item_pass_at_k(verdicts: Verdicts, k: int) -> list[float]:
    """Return each item's chance that one of k completions succeeds, without bias.

    It is 1 - C(n-c, k) / C(n, k) for n completions, c of them successes (Chen et al., arXiv 2107.03374).

    Raises:
        ValueError: no item, k below 1, or an item with fewer than k completions.

    >>> item_pass_at_k([[True, False, False, False], [True, True, False, False]], 2)
    [0.5, 0.8333333333333334]
    """
    if k < 1:
        raise ValueError(f"k={k} is not allowed: it must be 1 or more.")
    shortest = min((len(item) for item in verdicts), default=0)
    if shortest < k:
        raise ValueError(f"pass@{k} needs {k} completions of every item; one has {shortest}.")
    return [1 - math.comb(len(item) - sum(map(bool, item)), k) / math.comb(len(item), k) for item in verdicts]


def item_majority(answers: Sequence[Sequence[str]], verdicts: Verdicts) -> list[float]:
    """Return maj@k: for each item, whether the answer that most of its k completions give is right.

    `answers` are the completions' answers, in the verdicts' order; "" is no answer and has no vote. The verdict of an
    answer is the mean of those of its completions. Answers with equally many votes are averaged; an item without any
    answer counts 0.

    >>> item_majority([["7", "7", "8"], ["7", "8", ""]], [[True, True, False], [True, False, False]])
    [1.0, 0.5]
    """
    return [_majority(*item) for item in zip(answers, verdicts, strict=True)]


def _majority(answers: Sequence[str], passed: Sequence[bool]) -> float:
    votes = Counter(answer for answer in answers if answer)
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most]
    right = Counter(answer for answer, success in zip(answers, passed, strict=True) if success)
    return math.fsum(right[answer] / most for answer in winners) / max(1, len(winners))


def paired_average(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Estimate:
    """Return the average over benchmarks of the mean difference of a pair, second minus first, with an interval.

    A pair holds one number an item of a benchmark, on both sides in the same order. The interval has the 2.5 and 97.5 %
    quantiles of a bootstrap that draws items with replacement within their benchmark, both sides together. Every
    benchmark has the same weight.

    Raises:
        ValueError: no benchmark, one without items, or one whose sides differ in length.
    """
    if not pairs or not all(len(first) == len(second) > 0 for first, second in pairs):
        raise ValueError("a paired difference needs at least one item, and the same items on both sides.")
    generator = torch.Generator().manual_seed(0)
    differences = [
        torch.tensor(second, dtype=torch.float64) - torch.tensor(first, dtype=torch.float64) for first, second in pairs
    ]
    value = torch.stack([benchmark.mean() for benchmark in differences]).mean()
    means = torch.stack([_resampled_means(benchmark, generator) for benchmark in differences]).mean(0)
    return _percentiles(value, means)


def _resampled_means(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return means of as many values, drawn with replacement: [RESAMPLES]. `MAX_DRAWS` limits the memory."""
    num = len(values)
    rows = max(1, MAX_DRAWS // num)
    sizes = [min(rows, RESAMPLES - start) for start in range(0, RESAMPLES, rows)]
    return torch.cat([values[torch.randint(num, (size, num), generator=generator)].mean(1) for size in sizes])


def paired_runs(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], blocks: Sequence[int] | None = None
) -> Estimate:
    """Return the mean difference of R paired runs on the same N items, second minus first, with a bootstrap interval.

    Runs and items are drawn with replacement, both sides together, so that the interval covers the luck of training and
    the choice of items. With `blocks`, the numbers of items of several tests, items are drawn within their test. With
    few runs the interval is somewhat too narrow: look at `mean_of_runs` beside it.

    Raises:
        ValueError: the two differ in shape, or are empty, or the blocks are not of N items together.
    """
    shapes = [[len(run) for run in side] for side in (first, second)]
    if shapes[0] != shapes[1] or not shapes[0] or len(set(shapes[0])) != 1 or not shapes[0][0]:
        raise ValueError(f"runs of {shapes[0]} and {shapes[1]} items: give as many runs, all on the same items.")
    blocks = blocks or [shapes[0][0]]
    if sum(blocks) != shapes[0][0]:
        raise ValueError(f"blocks={list(blocks)} are {sum(blocks)} items, not {shapes[0][0]}.")
    differences = torch.tensor(second, dtype=torch.float64) - torch.tensor(first, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    runs = torch.randint(len(differences), (RESAMPLES, len(differences)), generator=generator)
    draws = [sum(blocks[:i]) + torch.randint(n, (RESAMPLES, n), generator=generator) for i, n in enumerate(blocks)]
    rows = max(1, MAX_DRAWS // differences.shape[1])
    parts = zip(_weights(runs).split(rows), torch.cat(draws, 1).split(rows), strict=True)
    means = torch.cat([((weights @ differences) * _weights(items)).sum(1) for weights, items in parts])
    return _percentiles(differences.mean(), means)


def _weights(drawn: torch.Tensor) -> torch.Tensor:
    """Return the weight of each of n places in a mean over n drawn ones: [resamples, n]."""
    ones = torch.ones(drawn.shape, dtype=torch.float64)
    return torch.zeros_like(ones).scatter_add_(1, drawn, ones) / drawn.shape[1]


def _percentiles(value: torch.Tensor, means: torch.Tensor) -> Estimate:
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return Estimate(float(value), low, high)


def mean_of_runs(values: Sequence[float]) -> Estimate:
    """Return the mean over independent runs (seeds), with Student's 95 % interval.

    Raises:
        ValueError: fewer than two runs.

    >>> estimate = mean_of_runs([1.0, 3.0])
    >>> estimate.value, round(estimate.low, 3), round(estimate.high, 3)
    (2.0, -10.706, 14.706)
    """
    from scipy.special import stdtrit

    mean, error = _mean_and_error(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * error
    return Estimate(mean, mean - half, mean + half)


def p_of_runs(values: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Student's test that the mean over independent runs is 0.

    None where the runs all agree: few runs do so by chance where scores are coarse, and their spread is unknown.

    Raises:
        ValueError: fewer than two runs.

    >>> round(p_of_runs([1.0, 3.0]), 4)
    0.2952
    """
    from scipy.special import stdtr

    mean, error = _mean_and_error(values)
    if min(values) == max(values):
        return None
    return float(2 * stdtr(len(values) - 1, -abs(mean) / error))


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    error = standard_error(values)
    if error is None:
        raise ValueError(f"{len(values)} run(s) have no spread: give two or more.")
    return statistics.fmean(values), error


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction: of all below 0.05, the chance of any false one is at most 5 %.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def item_means(verdicts: Verdicts) -> list[float]:
    """Return each item's share of successes.

    Raises:
        ValueError: no item, or an item without a completion.
    """
    if not verdicts or not all(len(item) for item in verdicts):
        raise ValueError("nothing to average: give at least one item and one completion for each.")
    return [sum(map(bool, item)) / len(item) for item in verdicts]
