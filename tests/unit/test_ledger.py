from __future__ import annotations

import math

import pytest
import torch

from echorl.core.ledger import KINDS, GroupLedger, classify_groups

# One group a kind, by id; success, scored and reward of its two rollouts.
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
        "scored": torch.tensor([flag for group in GROUPS.values() for flag in group[2]]),
        "rewards": torch.tensor([reward for group in GROUPS.values() for reward in group[3]]),
        "group_ids": torch.tensor([group for group in GROUPS for _ in range(2)]),
    }
    return classify_groups(**(columns | changes))


def names(kinds) -> dict[int, str]:  # type: ignore[no-untyped-def]
    return {group: KINDS[kind] for group, kind in zip(sorted(GROUPS), kinds.kind.tolist(), strict=True)}


def test_every_kind_is_told_apart() -> None:
    kinds = classify()
    assert names(kinds) == {group: row[0] for group, row in GROUPS.items()}
    degenerate = dict(zip(sorted(GROUPS), kinds.degenerate.tolist(), strict=True))
    assert degenerate == {5: False, -2: True, 9: True, 0: True, 7: True}
    assert kinds.share("mixed") == pytest.approx(0.2)


def test_an_all_success_group_with_different_rewards_is_not_degenerate() -> None:
    rewards = torch.tensor([1.0, 1.5])
    kinds = classify_groups(torch.tensor([True, True]), torch.tensor([True, True]), rewards, torch.tensor([0, 0]))
    assert (KINDS[kinds.kind], kinds.degenerate.tolist()) == ("all_success", [False])


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


def test_an_unscored_rollout_does_not_count() -> None:
    scored = torch.ones(10, dtype=torch.bool)
    scored[1] = False  # the failure of the mixed group
    assert names(classify(scored=scored))[5] == "all_success"


def test_the_ledger_adds_up_and_survives_a_checkpoint() -> None:
    ledger, lengths = GroupLedger(), torch.arange(10)
    assert ledger.table() == "group ledger: no group was recorded"
    shares = ledger.record(classify(), lengths)
    assert shares["groups/all_success"] == pytest.approx(0.2)
    assert shares["tokens/all_success"] == pytest.approx((2 + 3) / 45)
    assert sum(value for name, value in shares.items() if name.startswith("tokens/")) == pytest.approx(1)
    resumed = GroupLedger()
    resumed.load_state_dict(ledger.state_dict())
    resumed.record(classify(), lengths)
    assert resumed.groups == dict.fromkeys(KINDS, 2) | {"truncated": 0}
    assert resumed.tokens["all_success"] == 10
    assert ledger.groups["mixed"] == 1
    lines = {line.split()[0]: line.split()[1:6] for line in resumed.table().splitlines()}
    assert lines["all_success"] == ["2", "20.0%", "2", "10", "11.1%"]
    assert "truncated" not in lines


def test_what_a_filter_dropped_is_counted_and_shown() -> None:
    ledger, plain = GroupLedger(), GroupLedger()
    plain.record(classify(), torch.arange(10))
    for _ in range(2):
        ledger.record(classify(), torch.arange(10), dropped=torch.tensor([True, False, False, True, False]))
    assert ledger.dropped == {"groups": 4, "tokens": 2 * (2 + 3 + 8 + 9)}  # ids -2 and 7
    assert ledger.table().splitlines()[-1].split()[:7] == ["of", "these", "4", "40.0%", "4", "44", "48.9%"]
    assert "dropped" not in plain.table()
    resumed = GroupLedger()
    resumed.load_state_dict(ledger.state_dict())
    assert resumed == ledger
    resumed.load_state_dict({k: v for k, v in plain.state_dict().items() if k != "dropped"})  # of an older version


def test_no_group_at_all() -> None:
    none, no_ids = torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    kinds = classify_groups(none, none, torch.zeros(0), no_ids)
    assert kinds.kind.numel() == 0
    assert kinds.share("mixed") == 0.0
    assert GroupLedger().table() == "group ledger: no group was recorded"
