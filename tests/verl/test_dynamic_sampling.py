"""The replay buffers on groups made by hand: what is accepted, dropped and drawn again, and where it ends."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from tensordict import TensorDict
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from echorl.verl.dynamic_sampling import KeepingReplayBuffer, KeepingReplayBufferAsync, keep_filtered

MIXED, RIGHT, WRONG = (1.0, 0.0, 0.0, 1.0), (1.0,) * 4, (0.0,) * 4


class Prompts:
    """Stands for the agent loops: the n-th prompt's rewards are told beforehand, and its group is there at once."""

    def __init__(self, store, rewards, *, status="finished"):
        self.store, self.rewards, self.status = store, rewards, status
        self.drawn: list[int] = []
        self.count = 0

    def draw(self, number: int) -> int:
        self.drawn.append(number)
        for _ in range(number):
            self.put(f"p{self.count}", self.rewards[self.count])
            self.count += 1
        return number

    def put(self, uid, rewards):
        self.store.kv_put(uid, "train", tag={"is_prompt": True, "status": self.status, "global_steps": 1})
        for session, reward in enumerate(rewards):
            fields = {"rm_scores": torch.tensor([[0.0, reward]])}
            self.store.kv_batch_put([f"{uid}_{session}_0"], "train", fields=to_rows(fields), tags=[{"seq_len": 2}])


def to_rows(fields):
    return TensorDict(fields, batch_size=1)


def make_buffer(prompts, *, cls=ReplayBuffer, limit=0, size=4):
    buffer = cls(
        trainer_mode="sync",
        trainer_config={},
        max_off_policy_threshold=8,
        max_off_policy_strategy="drop",
        sampler_kwargs={},
        poll_interval=0,
        refill_fn=prompts.draw,
        filter_groups_metric="reward",
        train_batch_size=size,
        gen_batch_size=1,
    )
    return keep_filtered(buffer, limit)


def groups(keys):
    return sorted({key.split("_")[0] for key in keys})


def test_it_draws_what_is_missing_and_keeps_every_accepted_group(store):
    prompts = Prompts(store, [MIXED, RIGHT, WRONG, MIXED, MIXED, RIGHT, MIXED, MIXED])
    buffer = make_buffer(prompts)
    assert isinstance(buffer, KeepingReplayBuffer)
    prompts.draw(4)
    batch, metrics = buffer.sample(1, "train", 4)
    assert prompts.drawn == [4, 2, 1]  # two were dropped, then one of the two drawn for them
    assert groups(batch.keys) == ["p0", "p3", "p4", "p6"]
    assert len(batch) == 16
    assert metrics["training/filter_groups/evicted_samples"] == 3
    assert "training/filter_groups/discarded_surplus_samples" not in metrics
    assert (buffer.missing, buffer.standing_in) == (0, [])
    dropped = buffer.take_filtered()
    assert groups(dropped) == ["p1", "p2", "p5"]
    assert len(dropped) == 12
    assert not buffer.take_filtered()
    assert set(store.rows["train"]) == {*batch.keys, *dropped}  # the rollouts are there, the prompts' entries not


def test_at_the_limit_the_batch_stays_short(store):
    prompts = Prompts(store, [WRONG, MIXED, WRONG, RIGHT, RIGHT, WRONG, WRONG, WRONG, MIXED])
    buffer = make_buffer(prompts, limit=2)
    prompts.draw(4)
    batch, _ = buffer.sample(1, "train", 4)
    assert prompts.drawn == [4, 3, 1]  # eight prompts at the most
    assert groups(batch.keys) == ["p1"]
    assert (buffer.missing, buffer.standing_in) == (3, [])
    assert groups(buffer.take_filtered()) == ["p0", "p2", "p3", "p4", "p5", "p6", "p7"]


def test_a_batch_without_any_accepted_group_has_one_with_the_best_metric(store):
    prompts = Prompts(store, [WRONG, WRONG, RIGHT, WRONG])
    buffer = make_buffer(prompts, limit=1)
    prompts.draw(4)
    batch, _ = buffer.sample(1, "train", 4)
    assert groups(batch.keys) == groups(buffer.standing_in) == ["p2"]
    assert buffer.missing == 4
    assert groups(buffer.take_filtered()) == ["p0", "p1", "p3"]


def test_the_next_batch_starts_anew(store):
    prompts = Prompts(store, [RIGHT, MIXED, MIXED, MIXED])
    buffer = make_buffer(prompts, limit=1, size=2)
    prompts.draw(2)
    first, _ = buffer.sample(1, "train", 2)
    assert (groups(first.keys), buffer.missing) == (["p1"], 1)
    store.kv_clear(first.keys, "train")
    prompts.draw(2)
    second, _ = buffer.sample(2, "train", 2)
    assert groups(second.keys) == ["p2", "p3"]
    assert (buffer.missing, buffer.standing_in) == (0, [])


def test_without_any_rollout_it_says_so(store):
    prompts = Prompts(store, [()] * 2, status="failure")
    buffer = make_buffer(prompts, limit=1, size=2)
    prompts.draw(2)
    with pytest.raises(RuntimeError, match="no rollout was generated"):
        buffer.sample(1, "train", 2)


def test_validation_is_verl_s(store):
    prompts = Prompts(store, [])
    store.kv_put("v", "val", tag={"is_prompt": True, "status": "finished", "global_steps": 1})
    store.kv_batch_put(["v_0_0"], "val", fields=to_rows({"rm_scores": torch.ones(1, 2)}), tags=[{}])
    buffer = make_buffer(prompts)
    batch, _ = buffer.sample(1, "val", 1)
    assert batch.keys == ["v_0_0"]
    assert not buffer.take_filtered()


def test_async_keeps_accepted_groups_for_the_next_batch(store):
    prompts = Prompts(store, [MIXED, RIGHT, MIXED, MIXED, MIXED, MIXED])
    buffer = make_buffer(prompts, cls=ReplayBufferAsync, size=2)
    assert isinstance(buffer, KeepingReplayBufferAsync)
    prompts.draw(4)
    first, _ = buffer.sample(1, "train", 2)
    dropped = buffer.take_filtered()
    assert prompts.drawn == [4, 1]
    assert groups(dropped) == ["p1"]
    second, _ = buffer.sample(1, "train", 2)
    assert groups([*first.keys, *second.keys]) == ["p0", "p2", "p3", "p4"]
    assert {*dropped} <= set(store.rows["train"])  # until who took them clears them
