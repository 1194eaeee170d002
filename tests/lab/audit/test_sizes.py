"""Shares at other group sizes, against hand-computed tables, subsampling and logs whose truth is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echorl.lab.audit.mixture import RATES, chances, divergence, fit_weights
from echorl.lab.audit.sizes import draws, exact_share, measure_sizes, pooled_shares
from tests.lab.audit.simulated import group_table, simulate


def _at(curve, size):
    return next(share for share in curve.shares if share.size == size)


def test_a_table_by_hand():
    table = group_table([4, 3, 0], size=4)
    assert draws(table, 2) == pytest.approx(np.array([[0, 0, 1], [0, 0.5, 0.5], [1, 0, 0]]))
    share = exact_share(table, 2)
    assert share.same.value == pytest.approx((1 + 0.5 + 1) / 3)
    assert (share.all_success.value, share.all_fail.value) == pytest.approx((1.5 / 3, 1 / 3))


def test_the_exact_share_is_that_of_all_subsamples():
    rng = np.random.default_rng(0)
    verdicts = rng.random((20, 6)) < rng.beta(1, 1, 20)[:, None]
    table = group_table(verdicts.sum(1), size=6)
    for size in (2, 3, 5):
        subsets = [verdicts[:, list(columns)] for columns in combinations(range(6), size)]
        same = np.mean([(each.all(1) | ~each.any(1)).mean() for each in subsets])
        assert exact_share(table, size).same.value == pytest.approx(same)
        assert len(subsets) == comb(6, size)


def test_groups_of_different_sizes_count_by_their_own_size():
    table = group_table([8, 16, 3], verdicts=np.array([8, 16, 8]))
    curve = measure_sizes(table)
    assert curve.logged_size == 8
    assert _at(curve, 8).same.value == pytest.approx(2 / 3)
    few = group_table([8] * 9 + [2], verdicts=np.array([8] * 9 + [4]))
    assert (measure_sizes(few).num_groups, measure_sizes(few).num_skipped) == (9, 1)


@pytest.mark.parametrize("size", [65, 2500])
def test_large_groups_have_exact_shares_and_no_extrapolation(size):
    right = [0, size, size // 2, size - 1, 3]
    curve = measure_sizes(group_table(right, size=size))
    assert (curve.misfit, curve.shares[-1].size) == (None, size)
    for share in curve.shares:
        expected = [(comb(c, share.size) + comb(size - c, share.size)) / comb(size, share.size) for c in right]
        assert share.same.value == pytest.approx(np.mean(expected), rel=1e-8)
        assert not share.extrapolated


def test_nothing_without_verdicts():
    assert measure_sizes(group_table([0, 0], verdicts=np.zeros(2, dtype=int))) is None
    assert measure_sizes(group_table([1, 0], size=1)) is None


def test_one_prompt_has_values_but_no_intervals():
    curve = measure_sizes(group_table([8, 8, 4], prompt=np.zeros(3, dtype=int)))
    assert curve.misfit is None
    assert all(share.same.low is share.same.high is None for share in curve.shares)
    assert [share.size for share in curve.shares if share.extrapolated] == [16, 32, 64]


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_bounds_hold_the_value_and_sizes_fall(data):
    size = data.draw(st.integers(2, 5))
    successes = data.draw(st.lists(st.integers(0, size), min_size=2, max_size=30))
    prompt = data.draw(st.lists(st.integers(0, 12), min_size=len(successes), max_size=len(successes)))
    curve = measure_sizes(group_table(successes, size=size, prompt=np.array(prompt)))
    json.dumps(asdict(curve), allow_nan=False)
    for name in ("same", "all_success", "all_fail"):
        shares = [getattr(share, name) for share in curve.shares]
        values = [share.value for share in shares]
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(values))
        for share in shares:
            low, high = (share.value if end is None else end for end in (share.low, share.high))
            assert -1e-12 <= low <= share.value + 1e-12
            assert share.value - 1e-12 <= high <= 1 + 1e-12


def test_order_of_groups_changes_nothing():
    rng = np.random.default_rng(1)
    table = simulate(rng, rng.beta(0.5, 0.5, 40), visits=3)
    plain, shuffled = (measure_sizes(each) for each in (table, table[rng.permutation(len(table))]))
    for one, other in zip(plain.shares, shuffled.shares, strict=True):
        assert (one.same.value, one.same.low, one.same.high) == pytest.approx(
            (other.same.value, other.same.low, other.same.high), abs=1e-3
        )


def test_the_fit_gives_the_shares_back_and_knows_the_share_of_a_smooth_distribution():
    true = np.full(len(RATES), 1 / len(RATES))  # Beta(0.5, 0.5) on the arcsine scale
    shares = chances(8) @ true
    weights = fit_weights(shares, 10_000)
    assert weights.sum() == pytest.approx(1)
    assert divergence(shares, chances(8) @ weights) < 1e-5
    assert weights @ (RATES**16) == pytest.approx(true @ RATES**16, abs=0.01)


def test_larger_sizes_lie_in_their_intervals():
    rates = np.sin(np.linspace(0, np.pi / 2, 1001)) ** 2
    for seed in range(2):
        rng = np.random.default_rng(seed)
        curve = measure_sizes(simulate(rng, rng.choice(rates, 300)))
        for share in filter(lambda share: share.extrapolated, curve.shares):
            truth = float((rates**share.size + (1 - rates) ** share.size).mean())
            assert share.same.low <= truth <= share.same.high


def test_counts_of_no_mixture_have_a_misfit():
    rng = np.random.default_rng(0)
    assert measure_sizes(group_table([4] * 100)).misfit > 8
    assert measure_sizes(simulate(rng, rng.beta(2, 2, 100))).misfit < 8


def test_visits_that_are_pooled_bound_the_share_from_below_whichever_way_the_policy_moves():
    rates = np.array([[0.5, 0.9], [0.8, 0.95], [1.0, 0.2]])  # three visits of two prompts
    rng = np.random.default_rng(0)
    successes = rng.binomial(4, rates[:, :, None], (3, 2, 20_000))
    total = successes.sum(0)
    for size in (6, 8, 12):
        chance = np.array([[comb(c, size) for c in range(13)], [comb(12 - c, size) for c in range(13)]]) / comb(
            12, size
        )
        for prompt in range(2):
            for ways, true in zip(chance, (rates**size, (1 - rates) ** size), strict=True):
                assert ways[total[prompt]].mean() <= true[:, prompt].mean() + 0.01


def test_pooled_visits_by_hand():
    table = group_table([4, 4, 4, 3, 4, 4], size=4, prompt=np.array([0, 0, 1, 1, 2, 3]))
    right = pooled_shares(table, 4, 6)["all_success"]
    assert right == pytest.approx([1, 1, comb(7, 6) / comb(8, 6), comb(7, 6) / comb(8, 6), 0, 0])
    assert not pooled_shares(table, 4, 9)["all_success"].any()


def test_recurring_prompts_raise_the_lower_end_of_larger_sizes():
    rng = np.random.default_rng(0)
    table = simulate(rng, rng.choice([0.0, 1.0, 0.5], 200), visits=4)  # 2 of 3 are the same at any size
    first_visits = table[:200]
    recurring, once = (_at(measure_sizes(each), 32).same for each in (table, first_visits))
    assert once.low + 0.05 < recurring.low < 2 / 3 < recurring.high


def test_half_of_the_real_rollouts_predict_the_share_at_eight(shared_data):
    path = shared_data / "math_rollouts/qwen25_math_100x8.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    right = np.array([row["correct"] for row in rows]).reshape(100, 8).sum(1)
    truth = exact_share(group_table(right), 8).same.value
    assert truth == 0.9
    for seed in range(3):
        half = np.random.default_rng(seed).hypergeometric(right, 8 - right, 4)
        share = _at(measure_sizes(group_table(half, size=4)), 8)
        assert share.same.low <= truth <= share.same.high
