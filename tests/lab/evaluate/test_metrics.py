"""Numbers against hand-computed values and closed forms."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from echorl.lab.evaluate.metrics import (
    Estimate,
    holm,
    item_majority,
    item_means,
    item_pass_at_k,
    mean_of_items,
    mean_of_runs,
    p_of_runs,
    paired_average,
    pass_at_1,
    standard_error,
)
from echorl.lab.statistics import Z_95, wilson


def paired_difference(first, second):
    """The mean difference of two models on the same items of one benchmark."""
    return paired_average([(item_means(first), item_means(second))])


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
    assert item_pass_at_k([item], k) == [pytest.approx(sum(map(any, subsets)) / len(subsets))]


def test_pass_at_k_over_items_of_unequal_size():
    assert item_pass_at_k([[True, False], [False, False, False], [True] * 4], 2) == [1, 0, 1]


@pytest.mark.parametrize(("verdicts", "k"), [([], 1), ([[True]], 2), ([[True]], 0)])
def test_pass_at_k_refuses(verdicts, k):
    with pytest.raises(ValueError, match=r"k=|pass@"):
        item_pass_at_k(verdicts, k)


def test_pass_at_1_refuses_nothing():
    for verdicts in ([], [[True], []]):
        with pytest.raises(ValueError, match="at least one"):
            pass_at_1(verdicts)


def test_paired_difference_of_equal_arms_is_zero():
    verdicts = [[True, False], [False, False]]
    assert paired_difference(verdicts, verdicts) == Estimate(0.0, 0.0, 0.0)


def test_paired_difference_agrees_with_the_closed_form():
    rng = random.Random(1)
    first = [[rng.random() < 0.4 for _ in range(4)] for _ in range(400)]
    second = [[rng.random() < 0.6 for _ in range(4)] for _ in range(400)]
    differences = torch.tensor([sum(b) / 4 - sum(a) / 4 for a, b in zip(first, second, strict=True)])
    error = float(differences.std()) / 20
    estimate = paired_difference(first, second)
    assert estimate.value == pytest.approx(float(differences.mean()), abs=1e-6)
    assert estimate.high - estimate.low == pytest.approx(2 * Z_95 * error, rel=0.1)
    assert estimate.low > 0


def test_pairing_cancels_what_items_share():
    verdicts = [[i % 2 == 0] * 4 for i in range(100)]
    better = [[True] * 4 if i == 1 else row for i, row in enumerate(verdicts)]
    assert paired_difference(verdicts, better).high < 0.04


def test_paired_difference_refuses_other_items():
    with pytest.raises(ValueError, match="same items"):
        paired_difference([[True]], [[True], [False]])


@pytest.mark.parametrize("num", [2, 3, 10, 11, 31, 1001])
def test_mean_of_runs_is_students(num):
    values = [i % 2 for i in range(num)]
    error = torch.tensor(values).double().std() / math.sqrt(num)
    estimate = mean_of_runs(values)
    assert estimate.value == pytest.approx(sum(values) / num)
    quantile = stats.t.ppf(0.975, num - 1)
    assert estimate.high - estimate.value == pytest.approx(float(quantile * error), rel=1e-12)


def test_one_run_has_no_spread():
    with pytest.raises(ValueError, match="two or more"):
        mean_of_runs([0.5])


@pytest.mark.parametrize(
    ("answers", "passed", "expected"),
    [
        (["7", "7", "8"], [1, 1, 0], 1.0),  # the majority is right
        (["7", "8", "8"], [1, 0, 0], 0.0),  # and here it isn't, though pass@3 is 1
        (["7", "8", "9"], [1, 0, 0], 1 / 3),  # three-fold tie
        (["7", "7", "8", "8"], [1, 1, 0, 0], 0.5),
        (["", "", "", "7"], [0, 0, 0, 1], 1.0),  # no answer is no vote
        (["", ""], [0, 0], 0.0),
        (["1/2", "1/2", "0.5"], [1, 0, 1], 0.5),  # the grader contradicts itself: the mean of the answer's verdicts
    ],
)
def test_majority_by_hand(answers, passed, expected):
    assert item_majority([answers], [passed]) == [pytest.approx(expected)]


def test_the_order_of_samples_does_not_matter_to_the_majority():
    answers, passed = ["7", "8", "8", "", "7", "9"], [True, False, False, False, True, False]
    values = {
        item_majority([[answers[i] for i in order]], [[passed[i] for i in order]])[0]
        for order in itertools.permutations(range(6))
    }
    assert values == {0.5}


def test_standard_error_by_hand():
    assert standard_error([1.0, 0.5, 0.0, 0.5]) == pytest.approx(math.sqrt((0.25 + 0 + 0.25 + 0) / 3 / 4))
    assert standard_error([0.5]) is None


def test_a_bootstrap_in_pieces_is_the_same(monkeypatch):
    rng = random.Random(0)
    pairs = [([rng.random() for _ in range(n)], [rng.random() for _ in range(n)]) for n in (7, 30)]
    whole = paired_average(pairs)
    monkeypatch.setattr("echorl.lab.evaluate.metrics.MAX_DRAWS", 1000)
    assert paired_average(pairs) == whole


def test_paired_average_weighs_benchmarks_alike():
    pairs = [([0.0] * 10, [1.0] * 10), ([0.5], [0.5])]
    assert paired_average(pairs) == Estimate(0.5, 0.5, 0.5)  # 11 items, yet one half each


@pytest.mark.parametrize("pairs", [[], [([], [])], [([1.0], [1.0, 0.0])]])
def test_paired_average_refuses(pairs):
    with pytest.raises(ValueError, match="same items on both sides"):
        paired_average(pairs)


class TestAgainstScipy:
    """scipy's bootstrap over items, on verdicts of items of very different difficulty."""

    @pytest.fixture(scope="class")
    def verdicts(self):
        rng = random.Random(2)
        chances = [rng.betavariate(0.7, 0.7) for _ in range(300)]
        return [[rng.random() < chance for _ in range(8)] for chance in chances]

    def _bootstrap(self, data, statistic, **options):
        return stats.bootstrap(
            data, statistic, n_resamples=4000, method="percentile", rng=0, vectorized=True, axis=-1, **options
        )

    @pytest.mark.parametrize("k", [1, 2, 4, 8])
    def test_error_and_interval_of_pass_at_k(self, verdicts, k):
        values = item_pass_at_k(verdicts, k)
        bootstrap, estimate = self._bootstrap((values,), np.mean), mean_of_items(values)
        assert standard_error(values) == pytest.approx(bootstrap.standard_error, rel=0.05)
        for bound, expected in zip((estimate.low, estimate.high), bootstrap.confidence_interval, strict=True):
            assert bound == pytest.approx(expected, abs=0.3 * bootstrap.standard_error)

    def test_paired_difference(self, verdicts):
        other = [[verdict or i % 3 == 0 for i, verdict in enumerate(item)] for item in verdicts]
        differences = [(sum(b) - sum(a)) / 8 for a, b in zip(verdicts, other, strict=True)]
        bootstrap, estimate = self._bootstrap((differences,), np.mean), paired_difference(verdicts, other)
        assert estimate.value == pytest.approx(sum(differences) / 300)
        for bound, expected in zip((estimate.low, estimate.high), bootstrap.confidence_interval, strict=True):
            assert bound == pytest.approx(expected, abs=0.2 * bootstrap.standard_error)

    def test_paired_average(self):
        rng = random.Random(3)
        parts = [[rng.gauss(0.1, 0.3) for _ in range(50)], [rng.gauss(0, 0.1) for _ in range(200)]]
        bootstrap = self._bootstrap(parts, lambda a, b, axis: (a.mean(axis) + b.mean(axis)) / 2)
        estimate = paired_average([([0.0] * len(part), part) for part in parts])
        for bound, expected in zip((estimate.low, estimate.high), bootstrap.confidence_interval, strict=True):
            assert bound == pytest.approx(expected, abs=0.2 * bootstrap.standard_error)


@pytest.mark.parametrize(("value", "num"), [(0.1, 3), (0.7, 3), (0.9, 9), (1 / 3, 25)])
def test_equal_items_have_the_interval_of_as_many_trials(value, num):
    estimate = mean_of_items([value] * num)
    assert (estimate.low, estimate.high) == pytest.approx(wilson(value, num))


def test_p_values_are_scipys_and_runs_that_agree_have_none():
    for values in ([1.0, 3.0], [0.2, -0.1, 0.4], [1.0, 2.0, 2.5, -4.0, 0.5, 0.25, 3.0, 1.0]):
        assert p_of_runs(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert p_of_runs([0.1, 0.1, 0.1]) is None
    with pytest.raises(ValueError, match="no spread"):
        p_of_runs([1.0])


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert holm([]) == []
