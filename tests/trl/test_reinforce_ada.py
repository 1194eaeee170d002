"""Reinforce-Ada's rounds: who is sampled again, what is chosen, and by what mean."""

from __future__ import annotations

import pytest
import torch

from echorl.trl.methods.reinforce_ada import ReinforceAdaHooks
from tests.trl.by_hand import closest, train_and_keep
from tests.trl.scripted import Script, same
from tests.trl.tiny import build, make_dataset, make_model, run

ROUNDS = ("m+-m", "-m")
"""The second prompt is all right, then all wrong; the third all wrong, then mixed: both are balanced after two."""


def first_batch(tmp_path, *rounds, **changes):
    script = Script(*rounds, then="+")
    trainer = build(tmp_path, script, method="reinforce_ada", **{"echo_coef": 0.0, "max_steps": 1, **changes})
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    return trainer, script, batch, gradient


def test_unbalanced_prompts_are_sampled_again_until_they_are_balanced(tmp_path):
    trainer, script, batch, _ = first_batch(tmp_path, *ROUNDS)
    assert script.numbers[1] == script.numbers[0][1:3]
    assert len(script.numbers) == 2
    log = trainer.state.log_history[0]
    names = ("rounds", "num_sampled_groups", "balanced")
    assert [log[f"method/{name}"] for name in names] == [2.0, 6.0, 1.0]
    assert trainer.statistics.num_tokens == script.tokens
    assert len(batch["completion_ids"]) == 16
    assert bool(batch["tool_mask"].bool().eq(1).any(1).all())


def test_every_prompt_has_half_right_and_half_wrong_by_its_pools_mean(tmp_path):
    """Pools: 2 of 4, 4 of 8, 2 of 8, 2 of 4."""
    _, _, batch, _ = first_batch(tmp_path, *ROUNDS)
    expected = []
    for right, total in ((2, 4), (4, 8), (2, 8), (2, 4)):
        pool = torch.tensor([1.0] * right + [0.0] * (total - right))
        expected += [float((r - pool.mean()) / (pool.std() + 1e-4)) for r in (1.0, 1.0, 0.0, 0.0)]
    assert sorted(batch["advantages"].tolist()) == pytest.approx(sorted(expected), rel=1e-5)


def test_it_ends_after_max_rounds_and_what_is_short_is_filled_up(tmp_path):
    trainer, script, batch, _ = first_batch(tmp_path, "++++", "++++", "+++m", method_options={"max_rounds": 3})
    assert len(script.numbers) == 3
    assert trainer.state.log_history[0]["method/balanced"] == 0.25
    pool = torch.tensor([1.0] * 10 + [0.0] * 2)
    low = float((0 - pool.mean()) / (pool.std() + 1e-4))
    assert sorted(batch["advantages"].tolist())[:2] == pytest.approx([low] * 2, rel=1e-5)
    assert int((batch["advantages"] == 0).sum()) == 12


def test_two_groups_a_round_and_the_choice_of_one(tmp_path):
    """Pools of eight: 4, 4, 4 and 8 right at first; the last prompt has eight more, 2 of them wrong."""
    options = {"groups_per_round": 2, "max_rounds": 2}
    trainer, script, batch, _ = first_batch(tmp_path, "mm+-mm++", "m+", method_options=options)
    assert [len(numbers) for numbers in script.numbers] == [8, 2]
    assert script.numbers[0][::2] == script.numbers[0][1::2]
    assert set(script.numbers[1]) == {script.numbers[0][-1]}
    log = trainer.state.log_history[0]
    names = ("rounds", "num_sampled_groups", "balanced")
    assert [log[f"method/{name}"] for name in names] == [2.0, 10.0, 1.0]
    expected = []
    for right, total in ((4, 8), (4, 8), (4, 8), (14, 16)):
        pool = torch.tensor([1.0] * right + [0.0] * (total - right))
        expected += [float((r - pool.mean()) / (pool.std() + 1e-4)) for r in (1.0, 1.0, 0.0, 0.0)]
    assert sorted(batch["advantages"].tolist()) == pytest.approx(sorted(expected), rel=1e-5)
    assert trainer.statistics.num_tokens == script.tokens


def test_one_large_round_and_no_std(tmp_path):
    """The form of the authors' script but for its four rounds."""
    options = {"groups_per_round": 2, "max_rounds": 1}
    _, script, batch, _ = first_batch(tmp_path, "m+m-m+m-", method_options=options, scale_rewards="none")
    assert len(script.numbers) == 1
    assert sorted(batch["advantages"].tolist()) == pytest.approx(
        sorted([0.25, 0.25, -0.75, -0.75, 0.75, 0.75, -0.25, -0.25] * 2)
    )


def test_one_round_is_grpo_bit_for_bit(tmp_path):
    one = run(tmp_path, Script(*["m+-m"] * 2), method="reinforce_ada", method_options={"max_rounds": 1}, echo_coef=0.0)
    assert same(one, run(tmp_path, Script(*["m+-m"] * 2), method="grpo", echo_coef=0.0))


def test_prompts_without_a_verdict_are_not_sampled_again(tmp_path):
    trainer, script, *_ = first_batch(tmp_path, "mm??")
    assert len(script.numbers) == 1
    assert trainer.state.log_history[0]["method/balanced"] == 0.5


def test_rollouts_that_the_loss_counts_come_first(tmp_path, monkeypatch):
    """Of a rollout that did not end all tokens are masked: it counts as neither, and only fills up."""
    seen, choose = [], ReinforceAdaHooks.choose
    monkeypatch.setattr(ReinforceAdaHooks, "choose", lambda self, *args: seen.append(args) or choose(self, *args))
    trainer, _, batch, _ = first_batch(tmp_path, mask_truncated_completions=True)
    counted = torch.cat([each.sampled.batch["completion_mask"].any(1) for each in seen[0][0]])
    owner = trainer.stations.hooks.pools(*seen[0])[2]
    pools = [int(counted[owner == prompt].sum()) for prompt in range(4)]
    first = int(counted[:16].sum())
    assert first < int(batch["completion_mask"].any(1).sum()) == sum(min(4, size) for size in pools)


def test_the_log_of_completions_shows_the_pools_advantages_and_0_for_what_is_not_chosen(tmp_path):
    trainer, *_ = first_batch(tmp_path, *ROUNDS)
    (high, low), (own, _), (half, _) = (
        [float((r - pool.mean()) / (pool.std() + 1e-4)) for r in (1.0, 0.0)]
        for pool in (torch.tensor([1.0] * right + [0.0] * (n - right)) for right, n in ((2, 8), (2, 4), (4, 8)))
    )
    expected = [low, low, 0, 0, own, -own, own, -own, -half, -half, 0, 0, high, 0, high, 0]  # of the last 16 rollouts
    assert list(trainer._logs["advantages"]) == pytest.approx(expected, rel=1e-5)


def test_a_kl_goes_along_since_no_place_stays_empty(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    changes = dict(model=str(tmp_path / "model"), beta=0.1, loss_type="grpo")
    _, _, batch, gradient = first_batch(tmp_path, *ROUNDS, **changes)
    assert bool((batch["completion_mask"] * batch["tool_mask"]).any(1).all())
    assert batch["ref_per_token_logps"].isfinite().all()
    assert all(g.isfinite().all() for g in gradient.values())


def test_streamed_rows_are_no_obstacle_and_what_is_one_names_the_way_out(tmp_path):
    first_batch(tmp_path, "mmmm", dataset=make_dataset().to_iterable_dataset())
    with pytest.raises(ValueError, match=r"'reinforce_ada' samples in rounds.*or set method_options=.*'max_rounds': 1"):
        build(tmp_path, method="reinforce_ada", echo_coef=0.0, scale_rewards="batch")
    build(tmp_path, method="reinforce_ada", method_options={"max_rounds": 1}, echo_coef=0.0, scale_rewards="batch")


def test_every_clip_of_every_round_reaches_the_loss_at_any_micro_batch(tmp_path):
    """EchoRL's receipt would complain of a lost one."""
    found = []
    for size in (16, 4):
        changes = dict(per_device_train_batch_size=size, gradient_accumulation_steps=16 // size, echo_coef=1.0)
        trainer, *_, gradient = first_batch(tmp_path, *ROUNDS, **changes)
        found.append(gradient)
    assert closest(*found) < 1e-5
    log = trainer.state.log_history[0]
    assert (
        log["echo/clips/mixed"] + log["echo/clips/all_success"] == 4
    )  # m + m, then m: of six groups four have a success
