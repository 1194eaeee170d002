"""Mining on verl's batch is the core's mining on the same rollouts, padded by hand."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from echorl import EchoConfig, mine_echo_clips, segment_steps
from echorl.core.entropy import step_entropy
from echorl.core.miner import EchoMiner
from echorl.core.mining import QUANTILE_DECAY, entropy_threshold
from tests.verl.batches import DELIMITERS, jagged, make_batch, read

SETTINGS = [
    {},
    {"scope": "degenerate"},
    {"select": "random", "seed": 3},
    {"select": "full"},
    {"clip_per": "rollout", "top_k": 2},
    {"min_step_tokens": 3},
]


def mine(batch, **settings):
    """The batch's clips as verl's trainer mines them, and the miner."""
    miner = EchoMiner(EchoConfig(**settings), DELIMITERS)
    return miner(batch.rollouts, batch.entropy), miner


def by_hand(data, num, **settings):
    """Clips of the first `num` rows, row by row into padded tensors."""
    width = max(len(row) for row in data["responses"].unbind()[:num])
    ids, mask, entropy = (torch.zeros(num, width, dtype=dtype) for dtype in (torch.int64, torch.bool, torch.float32))
    for i in range(num):
        length = len(data["responses"][i])
        ids[i, :length], mask[i, :length] = data["responses"][i], data["response_mask"][i].bool()
        entropy[i, :length] = data["entropy"][i]
    success = torch.stack([row.sum() >= 1 for row in data["rm_scores"].unbind()[:num]])
    groups = torch.tensor([int(uid.split("-")[1]) for uid in list(data["uid"])[:num]])
    return mine_echo_clips(entropy, segment_steps(ids, mask, DELIMITERS), success, groups, EchoConfig(**settings))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("padding", [0, 4])
def test_clips_are_those_of_the_core(settings, padding):
    data, tags = make_batch(padding=padding)
    batch = read(data, tags, **settings)
    clips = mine(batch, **settings)[0].clips
    wanted = by_hand(data, 12, **settings)
    assert len(clips) > 0
    for name in ("rollout", "step", "end", "length", "group", "entropy"):
        assert torch.equal(getattr(clips, name), getattr(wanted, name)), name
    nested = batch.to_nested(clips.weights, 12 + padding)
    assert [len(row) for row in nested.unbind()] == [len(row) for row in data["responses"].unbind()]
    for i, row in enumerate(nested.unbind()):
        assert torch.equal(row, wanted.weights[i, : len(row)] if i < 12 else torch.zeros(1))


def test_padding_rows_are_no_group():
    data, tags = make_batch(padding=4)
    groups = read(data, tags).rollouts.groups
    assert len(groups) == 3
    assert bool(groups.of_kind("all_success").any())


def test_tokens_that_verl_took_out_of_the_response_mask_are_in_no_clip():
    data, tags = make_batch()
    mask = [row.clone() for row in data["response_mask"].unbind()]
    for row in mask[::2]:
        row.zero_()
    data["response_mask"] = jagged(mask)
    clips = mine(read(data, tags), clip_per="rollout")[0].clips
    assert len(clips) > 0
    assert not bool((clips.rollout % 2 == 0).any())


def test_success_by_a_named_key_and_by_the_reward():
    data, tags = make_batch()
    data["rm_scores"] = jagged([row * 0.9 for row in data["rm_scores"].unbind()])
    assert not bool(read(data, tags).rollouts.success.any())
    named = read(data, tags, success_key="acc").rollouts.success
    assert torch.equal(named, read(data, tags, success_reward=0.9).rollouts.success)
    assert bool(named.any())
    with pytest.raises(ValueError, match=r"success_key=verdict is not returned .*acc, format"):
        read(data, tags, success_key="verdict")


def test_a_key_of_none_is_no_verdict():
    data, tags = make_batch()
    next(iter(data["extra_fields"]))["reward_extra_info"]["acc"] = None
    rollouts = read(data, tags, success_key="acc").rollouts
    assert rollouts.has_verdict.tolist() == [False] + [True] * 11


def test_kl_in_the_reward_counts_for_the_gradient_not_for_success():
    data, tags = make_batch()
    data["token_level_rewards"] = jagged([row - 0.01 * i for i, row in enumerate(data["rm_scores"].unbind())])
    rollouts = read(data, tags).rollouts
    assert not bool(rollouts.groups.degenerate.any())
    assert torch.equal(rollouts.success, read(*make_batch()).rollouts.success)


def test_without_entropies_it_says_so():
    data, tags = make_batch()
    del data["entropy"]
    with pytest.raises(RuntimeError, match="no field 'entropy'"):
        mine(read(data, tags))


def test_the_running_quantile_is_the_core_s():
    data, tags = make_batch()
    batch = read(data, tags)
    rollouts = batch.rollouts
    ids = segment_steps(rollouts.token_ids, rollouts.in_loss, DELIMITERS)
    now = entropy_threshold(step_entropy(batch.entropy, ids)[rollouts.success], 0.5)
    mined, miner = mine(batch, entropy_quantile=0.5)
    assert miner.threshold == now
    assert float(mined.clips.entropy.min()) >= now
    assert miner.metrics(rollouts, batch.entropy, mined)["echo/entropy_threshold"] == now
    miner.threshold = 1.0
    miner(rollouts, batch.entropy)
    assert miner.threshold == pytest.approx(QUANTILE_DECAY + (1 - QUANTILE_DECAY) * now)
    assert mine(batch)[1].threshold is None


def test_verl_averages_every_metric():
    """A name with one of these in it would be reduced otherwise over mini-batches or updates."""
    data, tags = make_batch()
    batch = read(data, tags)
    mined, miner = mine(batch)
    metrics = miner.metrics(batch.rollouts, batch.entropy, mined)
    assert metrics["echo/clips/all_success"] == 1
    assert 0 < metrics["echo/clip_share/all_success"] <= 1
    assert metrics["echo/token_entropy"] == pytest.approx(float(data["entropy"].values().double().mean()))
    assert not [name for name in metrics for word in ("max", "min", "sum", "total", "mean") if word in name]


def test_clips_without_an_entropy_have_no_part_in_the_mean():
    """Whole rollouts are clips whether their last step's entropy is known or not."""
    data, tags = make_batch()
    settings = {"select": "full", "clip_per": "rollout"}
    batch = read(data, tags, select="full")
    rows = mine(batch, **settings)[0].clips.rollout
    batch.entropy[rows[:-1]] = torch.nan
    mined, miner = mine(batch, **settings)
    finite = mined.clips.entropy.isfinite()
    assert finite.tolist() == [False] * (len(rows) - 1) + [True]
    metrics = miner.metrics(batch.rollouts, batch.entropy, mined)
    means = [metrics.get(f"echo/clip_entropy/{name}") for name in ("all_success", "mixed")]
    assert [value for value in means if value is not None] == [float(mined.clips.entropy[finite])]
    batch.entropy[:] = torch.nan
    mined, miner = mine(batch, **settings)
    metrics = miner.metrics(batch.rollouts, batch.entropy, mined)
    assert metrics["echo/clips/all_success"] > 0
    assert not [name for name in metrics if "entropy" in name]
