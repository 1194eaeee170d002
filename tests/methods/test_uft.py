"""UFT's hint schedule: p_t, and the number of chunks kept as Binomial(N, p_t)."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from echorl.methods.uft import UFT

DRAWS = 4000
CRITICAL = {2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5}
"""Chi-square's 99.9 % point by degrees of freedom."""


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def chi_square(counts: list[int], expected: list[float]) -> tuple[float, int]:
    """The statistic and its degrees of freedom; neighbours are merged until each cell expects at least 5."""
    cells = [[0.0, 0.0]]
    for count, wanted in zip(counts, expected, strict=True):
        if cells[-1][1] >= 5:
            cells.append([0.0, 0.0])
        cells[-1] = [cells[-1][0] + count, cells[-1][1] + wanted]
    if cells[-1][1] < 5:
        count, wanted = cells.pop()
        cells[-1] = [cells[-1][0] + count, cells[-1][1] + wanted]
    return sum((count - wanted) ** 2 / wanted for count, wanted in cells), len(cells) - 1


@pytest.mark.parametrize("step", [0, 30, 75, 150, 225, 299])
def test_hint_counts_are_binomial(step):
    """A solution of 5 steps: one chunk a step, so the steps kept are the chunks kept."""
    rng = random.Random(step)
    counts = Counter(UFT().num_hint_steps(5, step, rng) for _ in range(DRAWS))
    probability = 0.05 + 0.45 * (1 + math.cos(math.pi * step / 300))
    expected = [DRAWS * p for p in binomial(5, probability)]
    statistic, degrees = chi_square([counts[k] for k in range(6)], expected)
    assert statistic < CRITICAL[degrees]


def test_the_test_tells_a_wrong_schedule():
    """The counts at step 75 are no draw from the schedule at step 90."""
    rng = random.Random(0)
    counts = Counter(UFT().num_hint_steps(5, 75, rng) for _ in range(DRAWS))
    probability = 0.05 + 0.45 * (1 + math.cos(math.pi * 90 / 300))
    statistic, degrees = chi_square([counts[k] for k in range(6)], [DRAWS * p for p in binomial(5, probability)])
    assert statistic > CRITICAL[degrees]


def test_the_mean_over_the_schedule():
    """z of the chunks kept over all 300 steps, one draw each: mean N p_t, variance N p_t (1 - p_t)."""
    method, rng = UFT(), random.Random(1)
    kept = [method.num_hint_steps(5, step, rng) for step in range(300) for _ in range(10)]
    chances = [method.hint_probability(step) for step in range(300) for _ in range(10)]
    z = (sum(kept) - 5 * sum(chances)) / math.sqrt(5 * sum(p * (1 - p) for p in chances))
    assert abs(z) < 3.3


def test_the_papers_p():
    for step in range(300):
        by_paper = 0.05 + 0.45 * (1 + math.cos(math.pi * step / 300))
        assert UFT().hint_probability(step) == pytest.approx(by_paper, abs=1e-12)
    assert UFT().hint_probability(300) == UFT().hint_probability(10_000) == 0.0
    assert UFT(hint_steps=0).hint_probability(0) == 0.0


@pytest.mark.parametrize(("steps", "possible"), [(0, {0}), (1, {0, 1}), (3, {0, 1, 2, 3}), (10, {0, 2, 4, 6, 8, 10})])
def test_chunks_are_runs_of_steps(steps, possible):
    rng = random.Random(0)
    assert {UFT().num_hint_steps(steps, 150, rng) for _ in range(500)} == possible


def test_seven_steps_in_five_chunks():
    rng = random.Random(0)
    assert {UFT().num_hint_steps(7, 150, rng) for _ in range(500)} == {0, 1, 3, 4, 6, 7}


def test_no_hint_after_the_schedule():
    assert {UFT().num_hint_steps(5, 300, random.Random(seed)) for seed in range(50)} == {0}
