"""Shares of groups without a gradient, against hand-computed tables and logs whose truth is known."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import beta

from echorl.lab.audit.intervals import Estimate, ratio
from echorl.lab.audit.losses import (
    GROUPS_A_POINT,
    PARTS,
    POINTS,
    measure_batch,
    measure_losses,
    measure_shares,
    recent_groups,
)
from echorl.lab.audit.trend import fit_trend
from echorl.lab.statistics import Z_95, wilson
from tests.lab.audit.simulated import group_table, simulate

KINDS_OF_EIGHT = group_table(
    [8, 8, 0, 4, 4, 0, 8, 0],
    degenerate=np.array([1, 0, 1, 0, 1, 0, 1, 1], dtype=bool),
    verdicts=np.array([8, 8, 8, 8, 8, 8, 8, 0]),
    length=np.array([100, 10, 10, 10, 10, 10, 40, 10]),
)


def test_shares_of_every_part_by_hand():
    shares = measure_shares(KINDS_OF_EIGHT)
    groups = {
        "no_gradient": 5,
        "all_success": 3,
        "all_fail": 2,
        "mixed": 1,
        "uniform_reward": 1,
        "unscored": 1,
        "all_success_no_gradient": 2,
        "all_fail_no_gradient": 1,
        "unscored_no_gradient": 1,
        "other_reward": 2,
        "all_success_other_reward": 1,
        "all_fail_other_reward": 1,
    }
    assert {part: share.value * 8 for part, share in shares.groups.items()} == groups
    assert shares.lengths["all_success_no_gradient"].value == 140 / 200
    assert shares.rollouts["other_reward"].value == 2 / 8
    assert (shares.first_step, shares.last_step, shares.num_groups, shares.num_rollouts) == (0, 1, 8, 64)
    assert set(shares.groups) == set(PARTS)


def test_parts_add_up():
    shares = measure_shares(KINDS_OF_EIGHT)
    for values in (shares.groups, shares.rollouts, shares.lengths):
        value = {part: share.value for part, share in values.items()}
        assert sum(value[kind] for kind in ("all_success", "all_fail", "mixed", "uniform_reward", "unscored")) == 1
        lost = ("all_success_no_gradient", "all_fail_no_gradient", "uniform_reward", "unscored_no_gradient")
        assert sum(value[part] for part in lost) == pytest.approx(value["no_gradient"])
        assert value["all_success_other_reward"] + value["all_fail_other_reward"] == value["other_reward"]


def test_an_interval_holds_its_share_whatever_the_rounding():
    assert all((low <= p <= high) for n in range(1, 200) for p in (0.0, 1.0) for low, high in [wilson(p, n)])


def test_the_interval_without_recurring_prompts_is_wilsons():
    lost = np.array([1.0] * 3 + [0.0] * 17)
    estimate = ratio(lost, np.ones(20), np.arange(20))
    trials = 19 * (Z_95 / 2.093024) ** 2  # Student's quantile at 19 degrees of freedom
    assert (estimate.low, estimate.high) == pytest.approx(wilson(0.15, trials), abs=1e-6)


def test_visits_of_a_prompt_that_agree_count_once():
    lost, prompt = np.repeat([1.0, 0.0, 0.0, 0.0, 1.0], 4), np.repeat(np.arange(5), 4)
    clustered = ratio(lost, np.ones(20), prompt)
    assert clustered == ratio(lost[::4], np.ones(5), np.arange(5))
    assert ratio(lost, np.ones(20), np.arange(20)).low > clustered.low


def test_a_share_of_zero_has_a_width_that_prompts_decide():
    zero = ratio(np.zeros(40), np.ones(40), np.repeat(np.arange(10), 4))
    assert zero.value == zero.low == 0
    assert zero.high == ratio(np.zeros(10), np.ones(10), np.arange(10)).high > 0.3


def test_one_prompt_has_no_interval():
    assert ratio(np.array([1.0, 0.0]), np.ones(2), np.zeros(2)) == Estimate(0.5)


def test_order_of_groups_and_names_of_prompts_change_nothing():
    rng = np.random.default_rng(0)
    table = simulate(rng, rng.beta(2, 1, 60), visits=3)
    names = rng.permutation(1000)
    shuffled = replace(table, prompt=names[table.prompt])[rng.permutation(len(table))]
    plain, other = (json.loads(json.dumps(asdict(measure_losses(each)))) for each in (table, shuffled))
    assert _numbers(plain) == pytest.approx(_numbers(other), rel=1e-9)


def _numbers(tree):
    if isinstance(tree, dict):
        return [number for value in tree.values() for number in _numbers(value)]
    if isinstance(tree, list):
        return [number for value in tree for number in _numbers(value)]
    return [float("-inf") if tree is None else tree]


def test_the_last_fifth_is_of_steps_and_needs_as_many_groups_as_a_point_of_the_curve():
    table = group_table([0] * 5 * GROUPS_A_POINT, step=np.arange(5 * GROUPS_A_POINT) // (GROUPS_A_POINT // 2))
    assert recent_groups(table).step.tolist() == [8] * (GROUPS_A_POINT // 2) + [9] * (GROUPS_A_POINT // 2)
    assert len(recent_groups(table[:-1])) == 5 * GROUPS_A_POINT - 1


def test_few_groups_over_many_steps_have_no_trend():
    rng = np.random.default_rng(0)
    table = group_table(rng.choice([0, 4], 59), step=np.arange(59))
    assert measure_losses(table).trend is None
    assert measure_losses(group_table(rng.choice([0, 4], 60), step=np.arange(60))).trend is not None


def test_a_log_without_steps_has_no_last_fifth():
    table = group_table([0] * 40)
    without = replace(table, step=np.full(40, -1))
    assert len(recent_groups(without)) == 40
    losses = measure_losses(without)
    assert losses.batch is losses.trend is losses.whole.first_step is None


def test_a_curve_has_every_group_once_in_stretches_that_follow_each_other():
    rng = np.random.default_rng(0)
    table = simulate(rng, rng.beta(2, 1, 2500))
    curve = measure_losses(table).curve
    assert len(curve) == POINTS
    assert sum(point.num_groups for point in curve) == len(table)
    assert all(first.last_step < second.first_step for first, second in pairwise(curve))
    assert len(measure_losses(table[:100]).curve) == 3


def test_the_effective_batch_by_hand():
    batch = measure_batch(group_table([8, 8, 8, 8, 8, 4, 0, 4, 4, 4, 4, 4]))  # with a gradient: 0, 2, 4 of 4
    assert (batch.groups, batch.with_gradient.value) == (4, 2)
    assert (batch.low_decile, batch.empty_steps, batch.num_steps) == (0, 1, 3)
    assert 0 <= batch.with_gradient.low < 2 < batch.with_gradient.high <= 4


def test_an_empty_log_is_an_error():
    with pytest.raises(ValueError, match="no group of two or more rollouts"):
        measure_losses(group_table([]))


def growing(groups_a_step: int = 20, steps: int = 200, to: float = 0.4):
    """A log whose share of groups without gradient grows from 10 % on a logistic line."""
    rng = np.random.default_rng(0)
    step = np.repeat(np.arange(steps), groups_a_step)
    ends = np.log(np.array([0.1, to]) / (1 - np.array([0.1, to])))
    share = 1 / (1 + np.exp(-(ends[0] + (ends[1] - ends[0]) * step / (steps - 1))))
    return group_table(np.where(rng.random(len(step)) < share, 8, 4), step=step)


def test_a_trend_is_found_with_the_step_at_which_it_reaches_a_half():
    trend = fit_trend(growing())
    assert trend.first.low < 0.1 < trend.first.high
    assert trend.last.low < 0.4 < trend.last.high
    slope = (np.log(0.4 / 0.6) - np.log(0.1 / 0.9)) * 100 / 199 * 0.4 * 0.6
    assert trend.per_100_steps.low < slope < trend.per_100_steps.high
    reach = {each.share: each.step for each in trend.reaches}
    assert set(reach) == {0.5, 0.75}
    assert (
        199
        <= reach[0.5].low
        < 199 * (1 + np.log(0.6 / 0.4) / (np.log(0.4 / 0.6) - np.log(0.1 / 0.9)))
        < reach[0.5].high
    )


def test_a_flat_share_reaches_nothing():
    trend = fit_trend(growing(to=0.1001))
    assert trend.per_100_steps.low < 0 < trend.per_100_steps.high
    assert trend.reaches == []


def test_a_share_without_any_slope_has_a_trend_of_zero():
    trend = fit_trend(group_table([8, 4, 8, 4] * 20))
    assert trend.per_100_steps.value == pytest.approx(0)
    assert trend.first.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    "successes", [[8] * 100, [4] * 100, [4] * 48 + [8] * 52, [8, 4] * 20], ids=["all", "none", "jump", "few steps"]
)
def test_no_trend_where_there_is_too_little_for_one(successes):
    assert fit_trend(group_table(successes)) is None


def test_intervals_cover_the_truth_of_simulated_logs():
    truth = beta(2, 1).expect(lambda p: p**8 + (1 - p) ** 8)
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        share = measure_shares(simulate(rng, rng.beta(2, 1, 80), visits=3)).groups["no_gradient"]
        covered += share.low <= truth <= share.high
    assert 90 <= covered <= 99
