"""Which steps go: orders, shares and lengths by hand."""

from __future__ import annotations

import itertools

import pytest

from echorl.lab.analyze.steps import (
    FRONT_FIRST,
    HIGH_FIRST,
    LOW_FIRST,
    ORDERS,
    PERCENTS,
    RANDOM,
    area,
    kept_steps,
    num_body_steps,
    num_removed,
    removal_order,
    removed_share,
    shows,
)

ENTROPIES = [0.2, 0.9, 0.1, 0.9, 0.5]


@pytest.mark.parametrize(
    ("order", "expected"),
    [(HIGH_FIRST, [1, 3, 4, 0, 2]), (LOW_FIRST, [2, 0, 4, 3, 1]), (FRONT_FIRST, [0, 1, 2, 3, 4])],
)
def test_orders(order, expected):
    assert removal_order(ENTROPIES, order, 0) == expected


def test_the_random_order_is_a_permutation_that_the_seed_decides():
    found = [tuple(removal_order(ENTROPIES, RANDOM, seed)) for seed in range(200)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in found)
    assert found[7] == tuple(removal_order([0.0] * 5, RANDOM, 7))
    firsts = [order[0] for order in found]
    assert all(20 <= firsts.count(step) <= 60 for step in range(5))  # 40 each on average, 5.7 standard deviation


def test_from_all_to_nothing_and_nested():
    for order in ORDERS:
        way = removal_order(ENTROPIES, order, 3)
        cuts = [kept_steps(way, num_removed(5, percent)) for percent in PERCENTS]
        assert cuts[0] == (0, 1, 2, 3, 4)
        assert cuts[-1] == ()
        for before, after in itertools.pairwise(cuts):
            assert set(after) <= set(before)
            assert list(after) == sorted(after)


@pytest.mark.parametrize(("steps", "expected"), [(1, [0] * 5 + [1] * 6), (4, [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4])])
def test_how_many_go(steps, expected):
    assert [num_removed(steps, percent) for percent in PERCENTS] == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], 0),
        (["#### 9"], 0),
        (["So it is 9."], 0),
        (["4+5=9\n", "#### 9"], 1),
        (["4+5=9\n", "so 9\n", "It is nine."], 2),
        (["Let x\n", "so \\boxed{9}\n", "check\n", "\\boxed{9}"], 1),
        (["4+5=9\n", "<answer>9</answer>"], 1),
    ],
)
def test_the_answer_is_no_step_that_is_shown(texts, expected):
    assert num_body_steps(texts) == expected


def test_tokens_that_went():
    assert [removed_share([6, 1, 3], kept) for kept in [(0, 1, 2), (0, 2), (1,), ()]] == [0.0, 0.1, 0.9, 1.0]
    assert removed_share([], ()) == 0.0


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("5+12=17\n", "17", True),
        ("in all 1,017 pears", "1017", True),
        ("117 and 170 and 17.5 and 0.17", "17", False),
        ("it is 17.", "17", True),
        ("it is x+1", "x+1", True),
        ("anything", "", False),
    ],
)
def test_whether_the_answer_is_to_be_seen(text, answer, expected):
    assert shows(text, answer) is expected


def test_area_is_the_mean_height():
    assert area([0.0, 0.25, 1.0], [0.0, 1.0, 1.0]) == 0.125 + 0.75
    assert area([0.0, 0.0, 1.0], [1.0, 0.5, 0.5]) == 0.5  # steps without tokens cost nothing
