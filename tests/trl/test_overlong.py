"""DAPO's soft overlong punishment: it shapes the reward and never the verdict."""

from __future__ import annotations

import torch

from tests.trl.scripted import Script, counts, dapo, first_batch, tokens_of
from tests.trl.tiny import all_right, build


def punished(tmp_path, reward=all_right, buffer=16, **changes):
    own = {"overlong_buffer": buffer, "dynamic_sampling": False}
    return first_batch(tmp_path, reward, method_options=own, **changes)


def test_the_punishment_shapes_the_reward_and_not_the_verdict(tmp_path):
    found = punished(tmp_path)
    assert found.trainer.statistics.groups["all_success"] == 4
    assert found.trainer.statistics.degenerate["all_success"] < 4
    lengths = torch.tensor([float(len(ids)) for ids in tokens_of(found.batch)]).view(4, 4)
    rewards = 1 - lengths / 16
    expected = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(found.batch["advantages"].view(4, 4), expected, atol=1e-5)


def test_all_right_groups_are_dropped_although_their_lengths_differ(tmp_path):
    script = Script("m++-", "-m+", "mm")
    found = first_batch(tmp_path, script, method_options={"overlong_buffer": 16})
    assert counts(found.log) == (3, 9, 5, 0)


def test_the_default_buffer_is_a_fifth_and_none_where_that_is_nothing(tmp_path):
    names = [
        build(tmp_path, **{**dapo(max_completion_length=length), "method_options": {}}).reward_func_names
        for length in (16, 4)
    ]
    assert names == [["some_right", "soft_overlong_punishment_reward"], ["some_right"]]


def test_the_weights_of_the_user_stay_the_users(tmp_path):
    changes = dapo(reward_weights=[2.0], method_options={"overlong_buffer": 4})
    trainer = build(tmp_path, **changes)
    assert trainer.reward_weights.tolist() == [2.0, 1.0]
    assert trainer.args.reward_weights == [2.0]
    assert trainer.stations.verifiers.columns == [0]


def test_a_rollout_without_any_verdict_is_not_rewarded_for_its_length(tmp_path):
    found = punished(tmp_path, Script("m?m?"))
    assert (found.batch["advantages"].view(4, 4)[[1, 3]] == 0).all()
    assert found.trainer.statistics.groups["unscored"] == 2
