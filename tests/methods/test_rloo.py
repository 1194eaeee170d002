"""RLOO's leave-one-out advantage, also where a rollout has no reward."""

from __future__ import annotations

import math

import pytest
import torch

from echorl.methods.rloo import RLOO
from tests.methods.batches import make_batch


def centred(rewards: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """r - mean of the group's rewards that are there; 0 without a reward."""
    out = torch.zeros_like(rewards)
    for group in groups.unique():
        rows = groups == group
        out[rows] = (rewards[rows] - rewards[rows].nanmean()).nan_to_num(0.0)
    return out


def leave_one_out(rewards: list[float], groups: list[int]) -> list[float]:
    out = []
    for i, reward in enumerate(rewards):
        others = [r for j, r in enumerate(rewards) if groups[j] == groups[i] and j != i and not math.isnan(r)]
        out.append(0.0 if math.isnan(reward) or not others else reward - sum(others) / len(others))
    return out


@pytest.mark.parametrize(
    "rewards",
    [
        [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [1.0, 0.0, 0.0, math.nan, 0.5, 0.25, math.nan, math.nan],
        [1.0, math.nan, math.nan, math.nan, *[math.nan] * 4],
    ],
)
def test_against_the_definition(rewards):
    groups = [0, 0, 0, 0, 1, 1, 1, 1]
    found = RLOO().advantages(centred(torch.tensor(rewards), torch.tensor(groups)), make_batch(rewards))
    assert found.tolist() == pytest.approx(leave_one_out(rewards, groups), abs=1e-6)


def test_a_missing_reward_makes_the_group_smaller():
    """Three of four rewards: G / (G - 1) = 3 / 2, not 4 / 3."""
    rewards, groups = torch.tensor([1.0, 0.0, 0.0, math.nan]), torch.zeros(4, dtype=torch.int64)
    base = centred(rewards, groups)
    found = RLOO().advantages(base, make_batch(rewards.tolist()))
    assert torch.allclose(found[:3], base[:3] * 1.5)
    assert found[3] == 0.0
