"""All-success groups by hand, and options that act over steps, through verl's real driver; no forward is added."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from echorl import segment_steps
from echorl.core.mining import running_quantile
from tests.verl.batches import DELIMITERS, make_config
from tests.verl.driver import MINI, PROMPTS, make_trainer, one_step

MIXED, RIGHT, WRONG = (1.0, 0.0, 0.0, 1.0), (1.0,) * 4, (0.0,) * 4
REWARDS = [MIXED, RIGHT, WRONG, MIXED]
MINIS = PROMPTS // MINI


def steps(trainer, store, groups, num):
    """Metrics of so many steps."""
    found = []
    for number in range(1, num + 1):
        trainer.global_steps = number
        found.append({})
        batch = one_step(trainer, groups, found[-1])
        store.kv_clear(batch.keys, "train")
    return found


def clip_nll(workers, responses):
    """The mean negative log-likelihood up to the end of the step with the largest mean entropy, by hand."""
    means = {}
    for row, response in enumerate(responses):
        ids = segment_steps(response[None], torch.ones(1, len(response)), DELIMITERS)[0]
        for step in range(int(ids.max()) + 1):
            means[row, step] = float(workers.entropies[response[ids == step]].mean()), ids
    (row, step), (_, ids) = max(means.items(), key=lambda item: item[1][0])
    return -workers.table.log_softmax(-1)[responses[row][(ids >= 0) & (ids <= step)]].mean()


def test_all_success_groups_have_no_gradient_in_verl_and_with_echorl_that_of_the_nll_by_hand(store):
    for coef in (0, 0.5):
        trainer, workers, groups = make_trainer(store, [RIGHT] * PROMPTS, f"echo.coef={coef}")
        batch = one_step(trainer, groups, {})
        fields = store.kv_batch_get(batch.keys, "train", ["uid", "responses", "advantages"])
        assert not any(row.any() for row in fields["advantages"].unbind())
        rows = list(zip(fields["uid"], fields["responses"].unbind(), strict=True))
        nll = sum(clip_nll(workers, [row for uid, row in rows if uid == f"p{i}"]) for i in range(PROMPTS))
        (by_hand,) = torch.autograd.grad(coef * nll / (PROMPTS / MINIS), workers.table)
        gradient = sum(update.grad for update in workers.updates)
        assert gradient.any() == (coef > 0)
        torch.testing.assert_close(gradient, by_hand, atol=1e-6, rtol=1e-5)
        store.kv_clear(batch.keys, "train")


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_coefficient_rises_over_optimiser_steps(store, epochs):
    trainer, workers, groups = make_trainer(
        store, REWARDS * 3, "+echo.warmup_steps=8", f"actor_rollout_ref.actor.ppo_epochs={epochs}"
    )
    found = steps(trainer, store, groups, 3)
    per_batch = MINIS * epochs
    wanted = [0.5 * min(1.0, (number * per_batch + 1) / 8) for number in range(3)]
    assert [metrics["echo/coef"] for metrics in found] == pytest.approx(wanted)
    assert [update.info["echo_coef"] for update in workers.updates[::MINIS]] == pytest.approx(wanted)


def test_a_success_that_no_reward_reaches_is_warned_of_once(store, capsys):
    trainer, _, groups = make_trainer(store, [(0.0, 0.5, 0.0, 0.5)] * PROMPTS * 3)
    steps(trainer, store, groups, 3)
    assert capsys.readouterr().out.count("the largest reward was 0.5, and +echo.success_reward is 1.") == 1


@pytest.mark.parametrize(("over", "count"), [("prompt", 4), ("clip", 3)])
def test_what_the_mean_runs_over(store, over, count):
    trainer, workers, groups = make_trainer(store, REWARDS, f"+echo.average_over={over}")
    steps(trainer, store, groups, 1)
    assert [update.info["echo_count"] for update in workers.updates] == [count / MINIS] * MINIS


def test_the_running_quantile_goes_from_step_to_step(store):
    trainer, _, groups = make_trainer(store, REWARDS * 2, "+echo.entropy_quantile=0.8")
    first, second = steps(trainer, store, groups, 2)
    alone, _, others = make_trainer(store, REWARDS * 2, "+echo.entropy_quantile=0.8")
    others.draw(4)
    store.kv_clear(list(store.rows["train"]), "train")
    now = steps(alone, store, others, 1)[0]["echo/entropy_threshold"]  # the second batch's own quantile
    assert second["echo/entropy_threshold"] == pytest.approx(running_quantile(first["echo/entropy_threshold"], now))
    assert trainer.miner.threshold == second["echo/entropy_threshold"]


@pytest.mark.parametrize(
    ("overrides", "warned"),
    [
        (["+echo.coef=0.1"], True),
        (["+echo.seed=1"], True),
        (["+echo.coef=0"], False),
        (["+echo.coef=0", "+echo.mine_only=True"], True),
        ([], False),
    ],
)
def test_echo_settings_for_a_trainer_of_verl_s_own_are_warned_of(capsys, overrides, warned):
    from verl.trainer.ppo.v1 import get_trainer_cls

    config = make_config("trainer.v1.trainer_mode=sync", *overrides)
    get_trainer_cls("sync")(config)
    text = "WARNING: trainer.v1.trainer_mode=sync is verl without EchoRL: set it to one of echo_sync"
    assert (text in capsys.readouterr().out) == warned


def test_no_forward_is_added(store):
    counts = []
    for coef in (0, 0.5):
        trainer, workers, groups = make_trainer(store, REWARDS, f"echo.coef={coef}")
        batch = one_step(trainer, groups, {})
        store.kv_clear(batch.keys, "train")
        counts.append(workers.forwards)
    assert counts[0] == counts[1] == 2 * len(batch)
