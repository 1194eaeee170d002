"""Numbers against hand-computed values and closed forms."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

from echorl.evaluate import Estimate, mean_of_runs, paired_difference, pass_at_1, pass_at_k
from echorl.evaluate.metrics import Z_95, wilson


def test_pass_at_1_by_hand():
    # Means 1, 0.5, 0, 0.5: p = 0.5, se^2 = (0.25 + 0 + 0.25 + 0) / 3 / 4 = 1/24, so 0.25 * 24 = 6 trials.
    estimate = pass_at_1([[True, True], [False, True], [False, False], [True, False]])
    z2 = Z_95**2
    half = Z_95 / (1 + z2 / 6) * math.sqrt(0.25 / 6 + z2 / (4 * 36))
    assert estimate.value == 0.5
    assert estimate.low == pytest.approx(0.5 - half)
    assert estimate.high == pytest.approx(0.5 + half)


def test_one_completion_an_item_is_nearly_wilson_of_n():
    verdicts = [[i < 30] for i in range(100)]
    low, high = wilson(0.3, 99)  # se^2 has n - 1, so 0.21 / (0.21 / 99) = 99 trials
    assert pass_at_1(verdicts) == Estimate(pytest.approx(0.3), pytest.approx(low), pytest.approx(high))


def test_clustering_widens_the_interval():
    alike = [[i % 2 == 0] * 8 for i in range(50)]
    apart = [[j % 2 == 0 for j in range(8)] for _ in range(49)] + [[True] * 5 + [False] * 3]
    width = {name: pass_at_1(v).high - pass_at_1(v).low for name, v in (("alike", alike), ("apart", apart))}
    assert width["alike"] > 5 * width["apart"]


@pytest.mark.parametrize("outcome", [True, False])
def test_no_spread_still_has_an_interval(outcome):
    estimate = pass_at_1([[outcome] * 8] * 20)
    bound = 1 / (1 + Z_95**2 / 20)  # Wilson's at p = 1
    assert (estimate.low if outcome else 1 - estimate.high) == pytest.approx(bound)
    assert estimate.value == float(outcome)


def test_interval_covers():
    rng, covered = random.Random(0), 0
    for _ in range(300):
        chances = [rng.betavariate(1, 1) for _ in range(60)]
        estimate = pass_at_1([[rng.random() < chance for _ in range(4)] for chance in chances])
        covered += estimate.low <= 0.5 <= estimate.high
    assert 0.92 <= covered / 300 <= 0.98


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_success(k):
    item = [True, False, True, False, False]
    subsets = list(itertools.combinations(item, k))
    assert pass_at_k([item], k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_over_items_of_unequal_size():
    assert pass_at_k([[True, False], [False, False, False], [True] * 4], 2) == pytest.approx((1 + 0 + 1) / 3)


@pytest.mark.parametrize(("verdicts", "k"), [([], 1), ([[True]], 2), ([[True]], 0)])
def test_pass_at_k_refuses(verdicts, k):
    with pytest.raises(ValueError, match=r"k=|pass@"):
        pass_at_k(verdicts, k)


def test_pass_at_1_refuses_nothing():
    for verdicts in ([], [[True], []]):
        with pytest.raises(ValueError, match="at least one"):
            pass_at_1(verdicts)


def test_paired_difference_of_equal_arms_is_zero():
    verdicts = [[True, False], [False, False]]
    assert paired_difference(verdicts, verdicts) == Estimate(0.0, 0.0, 0.0)
    assert not paired_difference(verdicts, verdicts).excludes_zero


def test_paired_difference_agrees_with_the_closed_form():
    rng = random.Random(1)
    first = [[rng.random() < 0.4 for _ in range(4)] for _ in range(400)]
    second = [[rng.random() < 0.6 for _ in range(4)] for _ in range(400)]
    differences = torch.tensor([sum(b) / 4 - sum(a) / 4 for a, b in zip(first, second, strict=True)])
    error = float(differences.std()) / 20
    estimate = paired_difference(first, second)
    assert estimate.value == pytest.approx(float(differences.mean()), abs=1e-6)
    assert estimate.high - estimate.low == pytest.approx(2 * Z_95 * error, rel=0.1)
    assert estimate.excludes_zero


def test_pairing_cancels_what_items_share():
    verdicts = [[i % 2 == 0] * 4 for i in range(100)]
    better = [[True] * 4 if i == 1 else row for i, row in enumerate(verdicts)]
    assert paired_difference(verdicts, better).high < 0.04


def test_paired_difference_refuses_other_items():
    with pytest.raises(ValueError, match="same items"):
        paired_difference([[True]], [[True], [False]])


@pytest.mark.parametrize(("num", "quantile"), [(3, 4.303), (10, 2.262), (11, 2.228), (31, 2.042), (1001, 1.962)])
def test_mean_of_runs_is_students(num, quantile):
    values = [i % 2 for i in range(num)]
    error = torch.tensor(values).double().std() / math.sqrt(num)
    estimate = mean_of_runs(values)
    assert estimate.value == pytest.approx(sum(values) / num)
    assert estimate.high - estimate.value == pytest.approx(float(quantile * error), rel=1e-3)


def test_one_run_has_no_spread():
    with pytest.raises(ValueError, match="two or more"):
        mean_of_runs([0.5])
