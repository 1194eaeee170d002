from __future__ import annotations

import math

import pytest
import torch

from echorl.core.groups import Groups, classify_groups
from echorl.core.statistics import KINDS, GroupStatistics

# One group a kind, by id; success, verdict and reward of its two rollouts.
GROUPS = {
    5: ("mixed", (True, False), (True, True), (1.0, 0.0)),
    -2: ("all_success", (True, True), (True, True), (1.0, 1.0)),
    9: ("all_fail", (False, False), (True, True), (0.0, 0.0)),
    0: ("uniform_reward", (True, False), (True, True), (0.5, 0.5)),
    7: ("unscored", (False, False), (False, False), (math.nan, math.nan)),
}


def classify(**changes: torch.Tensor):  # type: ignore[no-untyped-def]
    columns = {
        "success": torch.tensor([flag for group in GROUPS.values() for flag in group[1]]),
        "has_verdict": torch.tensor([flag for group in GROUPS.values() for flag in group[2]]),
        "rewards": torch.tensor([reward for group in GROUPS.values() for reward in group[3]]),
        "group_ids": torch.tensor([group for group in GROUPS for _ in range(2)]),
    }
    return classify_groups(**(columns | changes))


def record(
    statistics: GroupStatistics, groups: Groups, lengths: torch.Tensor, *filtered: list[bool]
) -> dict[str, float]:
    columns = (groups.kind, groups.degenerate, groups.sum(lengths))
    return statistics.record(*(column.tolist() for column in columns), *filtered)


def names(kinds) -> dict[int, str]:  # type: ignore[no-untyped-def]
    return {group: KINDS[kind] for group, kind in zip(sorted(GROUPS), kinds.kind.tolist(), strict=True)}


def test_every_kind_is_told_apart() -> None:
    kinds = classify()
    assert names(kinds) == {group: row[0] for group, row in GROUPS.items()}
    degenerate = dict(zip(sorted(GROUPS), kinds.degenerate.tolist(), strict=True))
    assert degenerate == {5: False, -2: True, 9: True, 0: True, 7: True}
    assert kinds.of_kind("mixed").tolist() == [group == 5 for group in sorted(GROUPS)]


def test_an_all_success_group_with_different_rewards_is_not_degenerate() -> None:
    rewards = torch.tensor([1.0, 1.5])
    kinds = classify_groups(torch.tensor([True, True]), torch.tensor([True, True]), rewards, torch.tensor([0, 0]))
    assert (KINDS[kinds.kind], kinds.degenerate.tolist()) == ("all_success", [False])


def test_a_threshold_that_no_reward_reaches_is_told() -> None:
    statistics, fail = GroupStatistics(), KINDS.index("all_fail")
    statistics.record([fail] * 7, [False] * 7, [1] * 7)
    assert statistics.unreached(0.0, 0.5, 1.0, "success_reward") is None  # few groups
    statistics.record([fail], [False], [1])
    assert statistics.unreached(0.0, 0.5, 1.0, "success_reward") == (
        "no rollout of 8 groups has succeeded: the largest reward was 0.5, and success_reward is 1. "
        "If 0.5 is a success, set success_reward=0.5."
    )
    assert statistics.unreached(0.5, 0.5, 1.0, "success_reward") is None  # rewards do not differ
    statistics.record([KINDS.index("mixed")], [False], [1])
    assert statistics.unreached(0.0, 0.5, 1.0, "success_reward") is None  # there was a success


def test_rewards_that_differ_by_rounding_are_equal() -> None:
    rewards = torch.full((8,), 0.9) + torch.tensor([0, 1] * 4) * 6e-8
    assert rewards.unique().numel() == 2
    flags = torch.ones(8, dtype=torch.bool)
    assert classify_groups(flags, flags, rewards, torch.zeros(8, dtype=torch.int64)).degenerate.tolist() == [True]


def test_one_column_of_rewards_that_differs_is_enough() -> None:
    rewards = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, math.nan], [1.0, math.nan]])
    flags = torch.ones(4, dtype=torch.bool)
    kinds = classify_groups(flags, flags, rewards, torch.tensor([0, 0, 1, 1]))
    assert kinds.degenerate.tolist() == [False, True]


def test_a_group_of_truncated_rollouts() -> None:
    kept = torch.tensor([False, False, False, True] + [True] * 6)
    assert names(classify(kept=kept)) == {group: row[0] for group, row in GROUPS.items()} | {5: "truncated"}


def test_a_rollout_without_verdict_does_not_count() -> None:
    has_verdict = torch.ones(10, dtype=torch.bool)
    has_verdict[1] = False  # the failure of the mixed group
    assert names(classify(has_verdict=has_verdict))[5] == "all_success"


def test_the_statistics_add_up_and_survive_a_checkpoint() -> None:
    statistics, lengths = GroupStatistics(), torch.arange(10)
    assert statistics.table() == "group statistics: no group was recorded"
    shares = record(statistics, classify(), lengths)
    assert shares["echo/groups/all_success"] == pytest.approx(0.2)
    assert shares["echo/tokens/all_success"] == pytest.approx((2 + 3) / 45)
    assert sum(value for name, value in shares.items() if name.startswith("echo/tokens/")) == pytest.approx(1)
    assert shares["echo/frac_degenerate"] == pytest.approx(0.8)
    assert shares["echo/frac_degenerate_tokens"] == pytest.approx(1 - (0 + 1) / 45)  # all but the mixed group's
    assert shares["echo/groups_with_gradient"] == 1
    resumed = GroupStatistics()
    resumed.load_state_dict(statistics.state_dict())
    record(resumed, classify(), lengths)
    assert resumed.groups == dict.fromkeys(KINDS, 2) | {"truncated": 0}
    assert resumed.tokens["all_success"] == 10
    assert statistics.groups["mixed"] == 1
    lines = {line.split()[0]: line.split()[1:6] for line in resumed.table().splitlines()}
    assert lines["all_success"] == ["2", "20.0%", "2", "10", "11.1%"]
    assert "truncated" not in lines


def test_filtered_groups_are_counted_and_shown() -> None:
    statistics, plain = GroupStatistics(), GroupStatistics()
    record(plain, classify(), torch.arange(10))
    for _ in range(2):
        metrics = record(statistics, classify(), torch.arange(10), [True, False, False, True, False])
    assert metrics["echo/groups_with_gradient"] == 1  # id 5, which is mixed
    metrics = record(GroupStatistics(), classify(), torch.arange(10), [False, False, True, False, False])
    assert metrics["echo/groups_with_gradient"] == 0
    assert statistics.filtered == {"groups": 4, "tokens": 2 * (2 + 3 + 8 + 9)}  # ids -2 and 7
    assert statistics.table().splitlines()[-1].split()[:7] == ["of", "these", "4", "40.0%", "4", "44", "48.9%"]
    assert "filtered" not in plain.table()
    resumed = GroupStatistics()
    resumed.load_state_dict(statistics.state_dict())
    assert resumed == statistics


def test_no_group_at_all() -> None:
    none, no_ids = torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    kinds = classify_groups(none, none, torch.zeros(0), no_ids)
    assert kinds.kind.numel() == 0
    assert record(GroupStatistics(), kinds, no_ids)["echo/groups/mixed"] == 0.0
    assert GroupStatistics().table() == "group statistics: no group was recorded"
