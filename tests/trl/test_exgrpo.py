"""Replay of right rollouts: what is stored, drawn and retired, and the loss of what is replayed."""

from __future__ import annotations

import pytest
import torch

from echorl.methods.luffy import NO_CLIP
from echorl.trl.sampling.row_keys import row_key
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import same
from tests.trl.test_failure_prefix import Visits
from tests.trl.tiny import build, make_dataset, make_model, run

KEYS = {row["number"]: row_key(row) for row in make_dataset(4)}


class Replayed(Visits):
    """Rewards as scripted, but a rollout that was right before stays right."""

    def __init__(self, *visits: str):
        super().__init__(*visits)
        self.right: set[tuple[int, ...]] = set()

    def __call__(self, completion_ids, number, **columns):
        scripted = super().__call__(completion_ids, number, **columns)
        texts = [tuple(ids) for ids in completion_ids]
        rewards = [max(reward, float(ids in self.right)) for reward, ids in zip(scripted, texts, strict=True)]
        self.right |= {ids for ids, reward in zip(texts, rewards, strict=True) if reward == 1.0}
        return rewards


def values(**changes):
    """Four prompts, so that every batch without replays visits each."""
    options = {"start": 0.0, **changes.pop("options", {})}
    own = dict(method="exgrpo", echo_coef=0.0, entropy_coef=0.0, dataset=make_dataset(4), method_options=options)
    return {**own, **changes}


def train(tmp_path, *visits, **changes):
    script = Replayed(*visits)
    trainer = build(tmp_path, script, **values(max_steps=len(visits), **changes))
    return trainer, script.seen, *train_and_keep(trainer)


def tokens_of(stored):
    return [ids.tolist() for ids, _ in stored.rollouts]


@pytest.fixture(scope="module")
def three_batches(tmp_path_factory):
    """Prompt 0 has 3 of 4 right, 1 half, 2 all, 3 none. The first batch only starts the storing."""
    return train(tmp_path_factory.mktemp("exgrpo"), "hm+-", "hmm-", "----", learning_rate=0.0)


def test_right_rollouts_of_mixed_groups_are_stored_and_solved_prompts_retired(three_batches):
    trainer, seen, _, _ = three_batches
    hooks = trainer.stations.hooks
    assert hooks.retired == {KEYS[2]}
    assert hooks.stored.keys() == {KEYS[0], KEYS[1]}
    stored = tokens_of(hooks.stored[KEYS[0]])
    assert [ids for i, ids in enumerate(seen[1][0]) if i != 2] == stored[:3]
    log = trainer.state.log_history
    assert [log[i]["method/buffer"] for i in range(3)] == [0, 0, 2]
    assert [log[i]["method/retired"] for i in range(3)] == [0, 1, 1]
    assert [log[i]["method/replayed"] for i in range(3)] == [0.0, 0.0, 0.5]


@pytest.mark.parametrize(("size", "is_visited"), [(12, False), (8, True)])
def test_a_retired_prompt_is_visited_again_only_if_few_are_left(tmp_path, size, is_visited):
    """Half of them are solved in the first epoch: 6 are left, or the 4 of a batch."""
    visits: list[set[int]] = []

    def reward(completions, number, **_):
        visits.append(set(number))
        return [float(n % 2 == 0 or place % 2) for place, n in enumerate(number)]

    options = {"start": 1.0}  # no replays
    build(tmp_path, reward, **values(dataset=make_dataset(size), max_steps=2 * size // 4, options=options)).train()
    first, later = set().union(*visits[: size // 4]), set().union(*visits[size // 4 :])
    assert {n for n in range(size) if n % 2 == 0} <= first
    assert any(n % 2 == 0 for n in later) == is_visited


def test_the_rollout_of_lowest_entropy_takes_the_last_place_of_its_group(three_batches):
    trainer, _, kept, _ = three_batches
    batch, stored = kept[2], trainer.stations.hooks.stored
    rows = batch["trace_mask"].any(1).nonzero().flatten().tolist()
    assert len(rows) == 2
    assert all(row % 4 == 3 for row in rows)
    earlier, model = kept[1], make_model()
    logp, entropy = logps_and_entropies(model, earlier)
    mask = earlier["completion_mask"]
    means = ((entropy * mask).sum(1) / mask.sum(1)).tolist()
    ids = [row[: int(m.sum())].tolist() for row, m in zip(earlier["completion_ids"], mask, strict=True)]
    for row in rows:
        replayed = batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist()
        (key,) = [key for key in stored if replayed in tokens_of(stored[key])]
        places = [ids.index(own) for own in tokens_of(stored[key]) if own in ids]
        best = min(places, key=lambda place: means[place])
        assert ids[best] == replayed
        sampled = batch["trace_logps"][row][: len(replayed)]
        assert torch.allclose(sampled, logp[best][: len(replayed)], atol=1e-5)


def test_the_gradient_is_exgrpos_objective_by_hand(tmp_path):
    """At a policy that has moved since the rollouts were stored: the ratio is not 1."""
    trainer = build(tmp_path, Replayed("mmmm", "mmmm", "----"), **values(max_steps=3, learning_rate=0.05))
    policies, step = [], trainer.training_step
    trainer.training_step = lambda model, *rest: (
        policies.append({n: p.detach().clone() for n, p in model.named_parameters()}),
        step(model, *rest),
    )[1]
    (*_, batch), (*_, gradient) = train_and_keep(trainer)
    model = make_model()
    model.load_state_dict({**model.state_dict(), **policies[-1]})
    logp, _ = logps_and_entropies(model, batch)
    own = batch["completion_mask"] * (1 - batch["trace_mask"])
    on_policy = -(batch["advantages"].unsqueeze(1) * (logp - logp.detach()).exp() * own).sum()
    ratio = (logp - batch["trace_logps"]).exp()
    traces = batch["trace_mask"].bool()
    assert (ratio[traces] - 1).abs().max() > 1e-3
    off_policy = -(batch["trace_advantages"].unsqueeze(1) * ratio / (ratio + 0.1) * traces).sum()
    assert closest(gradient_of(model, (on_policy + off_policy) / (16 * 16)), gradient) < 1e-5
    assert batch["trace_advantages"][traces.any(1)].tolist() == [0.75] * 2  # 1 of 4 is right


def test_without_replay_it_is_dr_grpo_without_a_clip_bit_for_bit(tmp_path):
    changes = dict(echo_coef=0.0, entropy_coef=0.0, dataset=make_dataset(4), max_steps=3)
    one = run(tmp_path, Visits("hm+-", "+hm-"), **values(**changes, options={"ratio": 0.0}))
    own = dict(method="dr_grpo", epsilon=NO_CLIP, epsilon_high=NO_CLIP)
    assert same(one, run(tmp_path, Visits("hm+-", "+hm-"), **own, **changes))
    assert not one[0].stations.hooks.retired


def test_nothing_is_stored_before_enough_rollouts_are_right(tmp_path):
    trainer, _, kept, _ = train(tmp_path, "m---", "m---", "m---", options={"start": 0.125})
    assert not trainer.stations.hooks.stored
    assert not any(batch["trace_mask"].any() for batch in kept)


def by_prompt(completion_ids, number, **_):
    return [float((sum(ids) + n) % 3 == 0) for ids, n in zip(completion_ids, number, strict=True)]


def test_a_resumed_run_has_the_buffer(tmp_path):
    changes = values(max_steps=6, save_strategy="steps", save_steps=3, echo_coef=0.1)
    whole, *_, weights = run(tmp_path, by_prompt, **changes)
    resumed = build(tmp_path, by_prompt, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
    buffers = [
        {key: (each.num_success, tokens_of(each)) for key, each in trainer.stations.hooks.stored.items()}
        for trainer in (whole, resumed)
    ]
    assert buffers[0] == buffers[1] != {}


def test_same_gradient_at_every_micro_batch(tmp_path):
    gradients = []
    for size in (16, 4, 1):
        changes = dict(per_device_train_batch_size=size, gradient_accumulation_steps=16 // size, echo_coef=1.0)
        gradients.append(train(tmp_path, "mmmm", "mmmm", "----", learning_rate=0.0, **changes)[3][2])
    assert all(closest(gradients[0], other) < 1e-5 for other in gradients[1:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dataset": make_dataset(4).add_column("image", [None] * 4)},
            "images: stored rollouts are scored without them",
        ),
        ({"remove_unused_columns": True}, "remove_unused_columns=True, .*: set it to False"),
        ({"dataset": make_dataset(4).to_iterable_dataset()}, "a training set without random access"),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"'exgrpo' cannot be combined with {message}"):
        build(tmp_path, method="exgrpo", **changes)
