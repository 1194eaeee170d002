"""Mining on verl's batch is the core's mining on the same rollouts, padded by hand."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from echorl import EchoConfig, mine_echo_clips, segment_steps
from echorl.core.entropy import step_entropy
from echorl.core.mining import QUANTILE_DECAY, entropy_threshold
from echorl.verl.mine import clip_metrics, mine_rollouts, next_floor, token_metrics
from tests.verl.batches import DELIMITERS, jagged, make_batch, read

SETTINGS = [
    {},
    {"scope": "degenerate"},
    {"select": "random", "seed": 3},
    {"select": "full"},
    {"clip_per": "rollout", "top_k": 2},
    {"min_step_tokens": 3},
]


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
    rollouts = read(data, tags, **settings)
    clips, _ = mine_rollouts(rollouts, EchoConfig(**settings), DELIMITERS)
    wanted = by_hand(data, 12, **settings)
    assert len(clips) > 0
    for name in ("rollout", "step", "end", "length", "group", "entropy"):
        assert torch.equal(getattr(clips, name), getattr(wanted, name)), name
    nested = rollouts.to_nested(clips.weights, 12 + padding)
    assert [len(row) for row in nested.unbind()] == [len(row) for row in data["responses"].unbind()]
    for i, row in enumerate(nested.unbind()):
        assert torch.equal(row, wanted.weights[i, : len(row)] if i < 12 else torch.zeros(1))


def test_padding_rows_are_no_group():
    data, tags = make_batch(padding=4)
    rollouts = read(data, tags)
    assert rollouts.num_groups == 3
    assert rollouts.kinds.of_kind("all_success").float().mean() >= 1 / 3


def test_tokens_that_verl_took_out_of_the_response_mask_are_in_no_clip():
    data, tags = make_batch()
    mask = [row.clone() for row in data["response_mask"].unbind()]
    for row in mask[::2]:
        row.zero_()
    data["response_mask"] = jagged(mask)
    clips, _ = mine_rollouts(read(data, tags), EchoConfig(clip_per="rollout"), DELIMITERS)
    assert len(clips) > 0
    assert not bool((clips.rollout % 2 == 0).any())


def test_success_by_a_named_key_and_by_the_reward():
    data, tags = make_batch()
    data["rm_scores"] = jagged([row * 0.9 for row in data["rm_scores"].unbind()])
    assert not bool(read(data, tags).success.any())
    named = read(data, tags, success_key="acc")
    assert torch.equal(named.success, read(data, tags, success_reward=0.9).success)
    assert bool(named.success.any())
    with pytest.raises(ValueError, match=r"success_key=verdict is not returned .*acc, format"):
        read(data, tags, success_key="verdict")


def test_a_key_of_none_is_no_verdict():
    data, tags = make_batch()
    next(iter(data["extra_fields"]))["reward_extra_info"]["acc"] = None
    rollouts = read(data, tags, success_key="acc")
    assert rollouts.scored.tolist() == [False] + [True] * 11


def test_kl_in_the_reward_counts_for_the_gradient_not_for_success():
    data, tags = make_batch()
    data["token_level_rewards"] = jagged([row - 0.01 * i for i, row in enumerate(data["rm_scores"].unbind())])
    rollouts = read(data, tags)
    assert not bool(rollouts.kinds.degenerate.any())
    assert torch.equal(rollouts.success, read(*make_batch()).success)


def test_without_entropies_it_says_so():
    data, tags = make_batch()
    del data["entropy"]
    with pytest.raises(RuntimeError, match="no field 'entropy'"):
        mine_rollouts(read(data, tags), EchoConfig(), DELIMITERS)


def test_the_running_quantile_is_the_core_s():
    data, tags = make_batch()
    config = EchoConfig(entropy_quantile=0.5)
    rollouts = read(data, tags)
    ids = segment_steps(rollouts.token_ids, rollouts.mask, DELIMITERS)
    now = entropy_threshold(step_entropy(rollouts.entropy, ids)[rollouts.success], 0.5)
    assert next_floor(rollouts, config, DELIMITERS, None) == now
    assert next_floor(rollouts, config, DELIMITERS, 1.0) == pytest.approx(QUANTILE_DECAY + (1 - QUANTILE_DECAY) * now)
    assert next_floor(rollouts, EchoConfig(), DELIMITERS, 1.0) is None
    clips, _ = mine_rollouts(rollouts, config, DELIMITERS, floor=now)
    assert float(clips.entropy.min()) >= now


def test_verl_averages_every_metric():
    """A name with one of these in it would be reduced otherwise over mini-batches or updates."""
    data, tags = make_batch()
    rollouts = read(data, tags)
    clips, ids = mine_rollouts(rollouts, EchoConfig(), DELIMITERS)
    metrics = clip_metrics(rollouts, clips, ids) | token_metrics(rollouts, DELIMITERS)
    assert metrics["echo/clips/all_success"] == 1
    assert 0 < metrics["echo/clip_share/all_success"] <= 1
    assert metrics["echo/token_entropy"] == pytest.approx(float(data["entropy"].values().double().mean()))
    assert not [name for name in metrics for word in ("max", "min", "sum", "total", "mean") if word in name]


def test_clips_without_an_entropy_have_no_part_in_the_mean():
    """Whole rollouts are clips whether their last step's entropy is known or not."""
    data, tags = make_batch()
    rollouts = read(data, tags, select="full")
    config = EchoConfig(select="full", clip_per="rollout")
    rows = mine_rollouts(rollouts, config, DELIMITERS)[0].rollout
    rollouts.entropy[rows[:-1]] = torch.nan
    clips, ids = mine_rollouts(rollouts, config, DELIMITERS)
    known = clips.entropy.isfinite()
    assert known.tolist() == [False] * (len(rows) - 1) + [True]
    names = ("all_success", "mixed")
    found = [clip_metrics(rollouts, clips, ids).get(f"echo/clip_entropy/{name}") for name in names]
    assert [value for value in found if value is not None] == [float(clips.entropy[known])]
    rollouts.entropy[:] = torch.nan
    metrics = clip_metrics(rollouts, *mine_rollouts(rollouts, config, DELIMITERS))
    assert metrics["echo/clips/all_success"] > 0
    assert not [name for name in metrics if "entropy" in name]
