"""Dynamic sampling with EchoRL through verl's real driver: what is kept, dropped and echoed, and the loss by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from echorl.verl.filtered import cut
from echorl.verl.trainers import EchoTrainerSeparateAsync
from tests.verl.driver import GENERATIONS, MINI, PROMPTS, RANKS, make_trainer, one_step

FILTER = "algorithm.filter_groups.enable=True"
MIXED, RIGHT, WRONG = (1.0, 0.0, 0.0, 1.0), (1.0,) * 4, (0.0,) * 4
REWARDS = [MIXED, RIGHT, WRONG, MIXED, MIXED, RIGHT, MIXED]  # four accepted, three dropped
MINIS = PROMPTS // MINI


def uids(keys):
    return sorted({key.split("_")[0] for key in keys})


def plain_pieces(batch):
    """The rows of each mini-batch and rank as verl deals them without dropped groups."""
    size = len(batch) // RANKS // MINIS
    return [[batch.keys[rank * size * MINIS + mini * size :][:size] for rank in range(RANKS)] for mini in range(MINIS)]


def in_the_policy_loss(update):
    """The rows with a token in the response mask, rank by rank."""
    masks = [data["response_mask"].unbind() for data in update.datas]
    pairs = [zip(keys, part, strict=True) for keys, part in zip(update.pieces, masks, strict=True)]
    return [[key for key, mask in part if mask.any()] for part in pairs]


def weighted_nll(workers):
    """-(w * logp).sum() over all rows of all updates, from the workers' own table; and the sum of the weights."""
    total, mass = 0.0, 0.0
    for update in workers.updates:
        for data in update.datas:
            for ids, prompt, weights in zip(
                data["input_ids"].unbind(), data["prompts"].unbind(), data["echo_weights"].unbind(), strict=True
            ):
                logp = workers.table.log_softmax(-1)[ids[len(prompt) :]]
                total, mass = total - (weights * logp).sum(), mass + float(weights.sum())
    return total, mass


def test_a_rollout_is_cut_at_the_end_of_its_clip():
    """Positions of a vision model have four rows; fields of the whole sequence are told from those of the response."""
    rows = []
    for num_prompt, num_response in ((3, 7), (2, 9)):
        both = num_prompt + num_response
        row = dict(prompts=torch.arange(num_prompt), responses=torch.arange(num_response), uid="p")
        row |= dict(input_ids=torch.arange(both), position_ids=torch.arange(both).expand(4, -1), num_turns=2)
        row |= dict(response_mask=torch.ones(num_response), loss_mask=torch.ones(num_response))
        row |= dict(log_probs=torch.arange(both) / 10, advantages=torch.ones(num_response))
        rows.append(row)
    weights = torch.full((4,), 0.25)
    data = list_of_dict_to_tensordict(rows)
    found = [cut({name: row[name] for name in data.keys()}, weights) for row in data]  # noqa: SIM118
    for row, (num_prompt, _) in zip(found, ((3, 7), (2, 9)), strict=True):
        both = torch.arange(num_prompt + 4)
        assert torch.equal(row["prompts"], torch.arange(num_prompt))
        assert torch.equal(row["responses"], torch.arange(4))
        assert torch.equal(row["input_ids"], both)
        assert torch.equal(row["position_ids"], both.expand(4, -1))
        assert torch.equal(row["log_probs"], both / 10)
        assert torch.equal(row["advantages"], torch.ones(4))
        assert torch.equal(row["echo_weights"], weights)
        assert not row["response_mask"].any()
        assert not row["loss_mask"].any()
        assert (row["uid"], row["num_turns"]) == ("p", 2)


@pytest.fixture
def ran(store):
    trainer, workers, groups = make_trainer(store, REWARDS, FILTER)
    metrics = {}
    batch = one_step(trainer, groups, metrics)
    return trainer, workers, batch, metrics, store


def test_the_policy_s_part_is_verl_s_without_dropped_groups(ran):
    _, workers, batch, _, _ = ran
    assert uids(batch.keys) == ["p0", "p3", "p4", "p6"]
    assert [in_the_policy_loss(update) for update in workers.updates] == plain_pieces(batch)
    for update in workers.updates:
        assert update.info["global_batch_size"] == MINI * GENERATIONS
        assert len({len(keys) for keys in update.pieces}) == 1  # ranks have as many rows each


def test_the_clips_of_dropped_groups_are_in_the_loss(ran):
    """Loss and gradient of the update less the policy's: coef times the NLL over count / mini-batches, to 1e-6."""
    _, workers, batch, metrics, _ = ran
    total, mass = weighted_nll(workers)
    assert mass == pytest.approx(6.0)  # one clip of weight 1 for each group with a success
    wanted = 0.5 * total / (7 / MINIS)
    policy = [by_hand(workers, update, batch) for update in workers.updates]
    found = sum(update.loss for update in workers.updates) - sum(loss.detach() for loss in policy)
    assert float(found) == pytest.approx(float(wanted.detach()), rel=1e-5)
    grads = torch.autograd.grad(sum(policy) + wanted, workers.table)[0]
    torch.testing.assert_close(sum(update.grad for update in workers.updates), grads, atol=1e-6, rtol=1e-5)
    assert metrics["echo/nll"] == pytest.approx(float(total.detach()) / 6, rel=1e-5)


def by_hand(workers, update, batch):
    """verl's token mean of -A * ratio over the mini-batch's accepted rows; at the old weights the ratio is 1."""
    total, tokens = 0.0, 0
    for keys, data in zip(update.pieces, update.datas, strict=True):
        for i, key in enumerate(keys):
            if key in batch.keys:
                ids, prompt = data["input_ids"].unbind()[i], data["prompts"].unbind()[i]
                logp = workers.table.log_softmax(-1)[ids[len(prompt) :]]
                total = total - (data["advantages"].unbind()[i] * (logp - logp.detach()).exp()).sum()
                tokens += len(logp)
    return total / tokens


def test_only_clips_are_sent_and_only_up_to_their_end(ran):
    _, workers, batch, _, _ = ran
    more = []
    for update in workers.updates:
        for keys, data in zip(update.pieces, update.datas, strict=True):
            for i, key in enumerate(keys):
                if key not in batch.keys:
                    weights = data["echo_weights"].unbind()[i]
                    assert len(data["responses"].unbind()[i]) == len(weights)
                    assert len(data["position_ids"].unbind()[i]) == len(weights) + 3
                    more.append(float(weights.sum()))
    assert sorted(more) == pytest.approx([0.0, 0.0, 1.0, 1.0])  # two clips, and two rows so that all have as many


def test_the_group_statistics_show_what_was_filtered(ran):
    trainer, _, _, metrics, _ = ran
    assert trainer.statistics.groups == dict(trainer.statistics.groups, mixed=4, all_success=2, all_fail=1)
    assert trainer.statistics.filtered["groups"] == 3
    assert (
        trainer.statistics.filtered["tokens"]
        == trainer.statistics.tokens["all_success"] + trainer.statistics.tokens["all_fail"]
    )
    assert (metrics["echo/filtered"], metrics["echo/missing"], metrics["echo/without_policy_gradient"]) == (
        3.0,
        0.0,
        0.0,
    )
    assert metrics["echo/groups/all_success"] == pytest.approx(2 / 7)
    assert metrics["echo/groups_with_gradient"] == 4
    assert metrics["echo/clips/all_success"] == 2
    assert "filtered by dynamic sampling" in trainer.statistics.table()


def test_nothing_is_left_behind(ran):
    *_, batch, _, store = ran
    assert set(store.rows["train"]) == set(batch.keys)


def test_groups_without_a_success_cost_no_forward(ran):
    _, workers, batch, _, _ = ran
    updated = sum(len(keys) for update in workers.updates for keys in update.pieces)
    assert workers.forwards == len(batch) + 2 * GENERATIONS + updated


LIMIT = "algorithm.filter_groups.max_num_gen_batches=1"


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean"])
def test_at_the_limit_places_stay_empty(store, mode):
    """One accepted prompt of four: one mini-batch of it and of padding rows, whose means are over the accepted rows."""
    overrides = (FILTER, LIMIT, f"actor_rollout_ref.actor.loss_agg_mode={mode}")
    trainer, workers, groups = make_trainer(store, [RIGHT, WRONG, WRONG, MIXED], *overrides)
    metrics = {}
    batch = one_step(trainer, groups, metrics)
    real = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding")]
    assert uids(real) == ["p3"]
    (update,) = workers.updates
    assert uids(key for keys in in_the_policy_loss(update) for key in keys) == ["p3"]
    assert update.info["global_batch_size"] == GENERATIONS
    total, mass = weighted_nll(workers)
    assert mass == pytest.approx(2.0)
    assert metrics["echo/nll"] == pytest.approx(float(total.detach()) / 2, rel=1e-5)
    assert (metrics["echo/filtered"], metrics["echo/missing"], metrics["echo/without_policy_gradient"]) == (
        3.0,
        3.0,
        0.0,
    )
    assert trainer.statistics.groups == dict(trainer.statistics.groups, mixed=1, all_success=1, all_fail=2)
    assert update.info["echo_count"] == 4  # all four prompts, and one optimiser step


def test_no_without_success_group_goes_through_the_model_at_the_limit(store):
    trainer, workers, groups = make_trainer(store, [RIGHT, WRONG, WRONG, MIXED], FILTER, LIMIT)
    seen = []
    forward = workers.logp
    workers.logp = lambda ids: seen.append(tuple(ids.tolist())) or forward(ids)
    groups.draw(PROMPTS)
    ids = {key: store.rows["train"][key][0]["input_ids"].tolist() for key in list(store.rows["train"]) if "_" in key}
    groups.draw = lambda number: number  # they are drawn already
    one_step(trainer, groups, {})
    without_success = {tuple(row) for key, row in ids.items() if key.split("_")[0] in ("p1", "p2")}
    accepted = {tuple(row) for key, row in ids.items() if key.split("_")[0] == "p3"}
    assert accepted <= set(seen)
    assert not without_success & set(seen)


@pytest.mark.parametrize(("rewards", "groups_with_clips"), [([RIGHT] * 4, 4), ([WRONG, WRONG, RIGHT, WRONG], 1)])
def test_a_step_without_any_accepted_group_trains_on_clips_alone(store, rewards, groups_with_clips):
    trainer, workers, groups = make_trainer(store, rewards, FILTER, LIMIT)
    metrics = {}
    batch = one_step(trainer, groups, metrics)
    (update,) = workers.updates
    assert not any(in_the_policy_loss(update))
    total, mass = weighted_nll(workers)
    assert mass == pytest.approx(groups_with_clips)
    assert float(update.loss) == pytest.approx(0.5 * float(total.detach()) / 4, rel=1e-5)
    assert (metrics["echo/without_policy_gradient"], metrics["echo/missing"], metrics["echo/filtered"]) == (
        1.0,
        4.0,
        4.0,
    )
    real = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding")]
    masks = store.kv_batch_get(real, "train", ["response_mask"])["response_mask"]
    assert all(bool(mask.all()) for mask in masks.unbind())  # as they were, for verl's own metrics


def test_a_step_without_any_success_has_no_gradient(store):
    trainer, workers, groups = make_trainer(store, [WRONG] * 4, FILTER, LIMIT)
    metrics = {}
    one_step(trainer, groups, metrics)
    (update,) = workers.updates
    assert not update.grad.any()
    assert "echo/nll" not in metrics


SHAPED = (1.0, 1.2, 1.1, 1.4)  # all right, of different rewards


@pytest.mark.parametrize("kl", [False, True])
def test_rewards_of_dropped_groups_are_theirs_with_a_kl_penalty_too(store, kl):
    """The reference is the policy itself, so the penalty is 0 and nothing but the dropped rows could change."""
    overrides = (
        FILTER,
        "algorithm.filter_groups.metric=acc",
        "+echo.success_key=acc",
        f"algorithm.use_kl_in_reward={kl}",
    )
    trainer, workers, groups = make_trainer(store, [SHAPED, *REWARDS], *overrides)
    metrics = {}
    one_step(trainer, groups, metrics)
    assert ("actor/reward_kl_penalty" in metrics) == kl
    assert metrics["echo/filtered"] == 4
    assert metrics["echo/frac_degenerate"] == pytest.approx(3 / 8)  # as the rewards of SHAPED do differ
    assert metrics["echo/groups_with_gradient"] == 4  # but it is filtered
    assert weighted_nll(workers)[1] == pytest.approx(7.0)


def test_the_dump_has_no_notes_on_dropped_groups(store, capsys):
    trainer, _, groups = make_trainer(store, REWARDS, FILTER, "trainer.rollout_data_dir=dumps")
    decoded = []
    trainer.tokenizer.decode = lambda ids, **kwargs: decoded.append(ids) or "text"
    batch = one_step(trainer, groups, {})
    assert set(trainer.dumped) == set(batch.keys)
    assert len(decoded) == 4  # the clips of the four accepted groups
    trainer._dump_futures, trainer._dump_executor = [], SimpleNamespace(shutdown=lambda **_: None)
    trainer._shutdown_dump_executor()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "What it lost on groups without a gradient: echorl audit dumps"


def test_the_dump_has_null_for_the_entropy_that_a_clip_has_not(store, monkeypatch):
    trainer, _, groups = make_trainer(store, REWARDS, FILTER, "trainer.rollout_data_dir=dumps")
    trainer.tokenizer.decode = lambda ids, **kwargs: "text"
    keep = trainer._keep_for_dump
    monkeypatch.setattr(trainer, "_keep_for_dump", lambda keys, rollouts, clips: keep(keys, rollouts, blank(clips)))
    one_step(trainer, groups, {})
    clips = [row for row in trainer.dumped.values() if row["echo_clip"]]
    assert [row["echo_clip_entropy"] for row in clips] == [None] * 4


def blank(clips):
    return replace(clips, entropy=torch.full_like(clips.entropy, -torch.inf))


def test_separate_async_puts_old_weights_in_place_once_a_batch(store):
    """Both old-log-prob passes run between verl's restore and its restore back."""
    overrides = (
        FILTER,
        "trainer.v1.separate_async.parameter_sync_step=2",
        "actor_rollout_ref.rollout.nnodes=1",
        "actor_rollout_ref.rollout.n_gpus_per_node=1",
        "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl",
    )
    trainer, workers, groups = make_trainer(store, [*REWARDS, MIXED, MIXED], *overrides, cls=EchoTrainerSeparateAsync)
    for trigger in range(2):
        trainer.local_trigger_step = trigger
        one_step(trainer, groups, {}, prompts=MINI)
    passes = ["forward", "forward"]  # of verl's batch and of the dropped groups
    assert workers.calls == ["save 0", *passes, "save 1", "restore 0", *passes, "restore 1", "clear 1"]


def test_the_next_step_starts_anew(store):
    trainer, _, groups = make_trainer(store, [*REWARDS, MIXED, MIXED, MIXED, MIXED], FILTER)
    metrics = {}
    batch = one_step(trainer, groups, {})
    store.kv_clear(batch.keys, "train")
    one_step(trainer, groups, metrics)
    assert metrics["echo/filtered"] == 0.0
    assert trainer.statistics.filtered["groups"] == 3


def test_without_dynamic_sampling_nothing_is_dropped(store):
    trainer, workers, groups = make_trainer(store, [MIXED, RIGHT, WRONG, MIXED])
    metrics = {}
    batch = one_step(trainer, groups, metrics)
    assert "echo/filtered" not in metrics
    assert [update.pieces for update in workers.updates] == plain_pieces(batch)
    assert weighted_nll(workers)[1] == pytest.approx(3.0)


def test_rollouts_that_do_not_divide_by_the_ranks(store):
    """Groups of three on two ranks: verl's padding rows for the old-log-prob pass, and none of them left behind."""
    rewards = [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0), *[(0.0, 1.0, 1.0)] * 3]
    trainer, workers, groups = make_trainer(store, rewards, FILTER, "actor_rollout_ref.rollout.n=3")
    metrics = {}
    batch = one_step(trainer, groups, metrics)
    updated = sum(len(keys) for update in workers.updates for keys in update.pieces)
    assert workers.forwards == len(batch) + 4 + updated
    assert weighted_nll(workers)[1] == pytest.approx(5.0)
    assert trainer.statistics.groups == dict(trainer.statistics.groups, mixed=4, all_success=1)
    assert set(store.rows["train"]) == set(batch.keys)


def test_average_over_clips_counts_those_of_dropped_groups(store):
    trainer, workers, groups = make_trainer(store, REWARDS, FILTER, "+echo.average_over=clip")
    one_step(trainer, groups, {})
    assert [update.info["echo_count"] for update in workers.updates] == [6 / MINIS] * MINIS
