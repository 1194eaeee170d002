"""The same rollouts, entropies and rewards through TRL's adapter and verl's: the same clips and the same weights."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")
pytest.importorskip("trl", reason="TRL is not installed: run `make test-verl`")

from echorl import EchoConfig
from echorl.core.miner import EchoMiner
from echorl.trl.batch import Capture
from echorl.trl.pipeline import process
from tests.trl import tiny
from tests.verl.batches import DELIMITERS, make_batch, read

PROMPTS, GENERATIONS, TOKENS = 4, 4, 20
SETTINGS = [
    {},
    {"scope": "degenerate"},
    {"select": "min_entropy"},
    {"clip_per": "rollout", "top_k": 2},
    {"min_step_tokens": 3, "average_over": "clip"},
    {"length_norm": "constant"},
    {"success_reward": 0.9},
]


def pad(rows, order, dtype):
    """verl's jagged rows as TRL's [N, T], group by group."""
    return torch.stack([torch.nn.functional.pad(rows[i].to(dtype), (0, TOKENS - len(rows[i]))) for i in order])


def by_trl(trainer, data, order):
    """`echo_weights` [N, T] and `echo_count` that TRL's adapter adds to the batch."""
    rows = {name: data[name].unbind() for name in ("responses", "response_mask", "entropy", "rm_scores")}
    logp = torch.zeros(len(order), TOKENS)
    mask = pad(rows["response_mask"], order, torch.int64)
    out = dict(
        completion_ids=pad(rows["responses"], order, torch.int64),
        completion_mask=mask,
        old_per_token_logps=logp,
        advantages=torch.ones(len(order)),
    )
    capture = Capture(
        passes=[(logp, pad(rows["entropy"], order, torch.float32))],
        rewards=torch.stack([rows["rm_scores"][i].sum() for i in order]).unsqueeze(1),
        num_sampled=mask.sum(1).tolist(),
    )
    process(out, capture, trainer.stations, trainer.context)
    return out["echo_weights"], float(out["echo_count"])


def make_trl(folder, settings):
    named = {f"echo_{name}": value for name, value in settings.items()}
    trainer = tiny.build(folder, tiny.all_right, max_completion_length=TOKENS, **named)
    trainer.stations.miner.delimiters = DELIMITERS
    return trainer


def in_trl_s_order(data):
    """verl's rows are in any order, TRL's group by group."""
    uids = list(data["uid"])
    return sorted(range(len(uids)), key=lambda i: uids[i])


def compare(clips, batch, weights, order):
    assert len(clips) > 0
    nested = batch.to_nested(clips.weights, len(order)).unbind()
    for place, row in enumerate(order):
        torch.testing.assert_close(nested[row], weights[place, : len(nested[row])], rtol=0, atol=0)
        assert not bool(weights[place, len(nested[row]) :].any())


@pytest.mark.parametrize("settings", SETTINGS)
def test_same_clips_weights_and_count(tmp_path, settings):
    data, tags = make_batch(num_prompts=PROMPTS, num_generations=GENERATIONS, seed=3)
    order = in_trl_s_order(data)
    weights, count = by_trl(make_trl(tmp_path, settings), data, order)
    more = {"max_completion_length": TOKENS} if settings.get("length_norm") == "constant" else {}
    config = EchoConfig(**settings, **more)
    batch = read(data, tags, **settings, **more)
    mined = EchoMiner(config, DELIMITERS)(batch.rollouts, batch.entropy)
    compare(mined.clips, batch, weights, order)
    assert count == int(mined.count) == (len(mined.clips) if config.average_over == "clip" else PROMPTS)


def test_same_running_quantile_over_batches(tmp_path):
    trainer = make_trl(tmp_path, {"entropy_quantile": 0.7})
    miner = EchoMiner(EchoConfig(entropy_quantile=0.7), DELIMITERS)
    for seed in (1, 2, 3):
        data, tags = make_batch(num_prompts=PROMPTS, num_generations=GENERATIONS, seed=seed)
        order = in_trl_s_order(data)
        weights, _ = by_trl(trainer, data, order)
        batch = read(data, tags)
        mined = miner(batch.rollouts, batch.entropy)
        assert trainer.stations.miner.threshold == pytest.approx(miner.threshold, rel=1e-6)
        compare(mined.clips, batch, weights, order)
