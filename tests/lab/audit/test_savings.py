"""Dynamic sampling and skipping solved prompts, by hand and by a slow loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echorl.lab.audit.intervals import Estimate
from echorl.lab.audit.savings import dynamic_sampling, replay_skipping
from tests.lab.audit.simulated import group_table


def test_dynamic_sampling_draws_by_the_share_and_in_rounds():
    cost = dynamic_sampling(Estimate(0.5, 0.25, 1.0), 1)
    assert cost.groups == Estimate(2, 1 / 0.75, None)
    assert cost.rounds.value == pytest.approx(2)  # one group a round: geometric
    assert cost.rounds.high is None
    assert dynamic_sampling(Estimate(1.0, 0.9, 1.0), 8).groups is None
    assert dynamic_sampling(Estimate(0.0, 0.0, 0.1), 8).rounds.value == 1


def test_expected_rounds_are_those_of_simulated_batches():
    kept = np.random.default_rng(0).binomial(16, 0.4, (20_000, 20)).cumsum(1)
    rounds = (kept < 16).sum(1) + 1
    assert dynamic_sampling(Estimate(0.6), 16).rounds.value == pytest.approx(rounds.mean(), abs=0.02)


def test_skipping_by_hand():
    successes = [8, 4, 8, 8, 4, 8]
    table = group_table(successes, prompt=np.zeros(6, dtype=int), step=np.arange(6), length=np.arange(6) + 1)
    first, second, third = replay_skipping(table).rules
    assert (first.num_groups, second.num_groups, third.num_groups) == (5, 2, 0)
    assert first.groups.value == 5 / 6
    assert first.length.value == 20 / 21
    assert first.with_gradient.value == 2 / 5
    assert second.with_gradient.value == 1 / 2
    assert third.groups.value == 0
    assert third.with_gradient is None


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 4, 8])), min_size=1, max_size=40), st.randoms())
def test_skipping_is_that_of_a_loop_in_any_order(visits, random):
    prompt, successes = (np.array(column) for column in zip(*visits, strict=True))
    table = group_table(successes, prompt=prompt, step=np.arange(len(prompt)))
    rows = list(range(len(prompt)))
    random.shuffle(rows)
    for rule in replay_skipping(table[rows]).rules:
        streak, out, skipped = dict.fromkeys(range(4), 0), set(), []
        for place, (name, right) in enumerate(visits):
            if name in out:
                skipped.append(place)
            streak[name] = streak[name] + 1 if right == 8 else 0
            if streak[name] >= rule.streak:
                out.add(name)
        assert rule.num_groups == len(skipped)
        lost = sum(successes[place] == 4 for place in skipped)
        assert rule.with_gradient is None or rule.with_gradient.value == pytest.approx(lost / len(skipped))


def test_a_log_that_cannot_tell_says_why():
    once = replay_skipping(group_table([8, 8]))
    assert once.rules == []
    assert "no prompt comes up twice" in once.reason
    twice = group_table([8, 8], prompt=np.zeros(2, dtype=int))
    assert "no steps" in replay_skipping(replace(twice, step=np.full(2, -1))).reason
