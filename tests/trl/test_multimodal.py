"""Prompts with images (Qwen2.5-VL's class, tiny): one to three images a row, of several sizes.

EchoRL's term equals what is written out by hand, whatever the micro-batch, the source of the entropies and the method.
"""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import torch

from echorl.trl.sampling import filtered_clips
from tests.trl import distributed, tiny, tiny_vision
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import Script, counts, first_batch
from tests.trl.test_base_identity import CountForwards
from tests.trl.test_distributed import assert_same, launch
from tests.trl.test_negative_rollouts import Script as Mistakes
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import all_right, needs_trl, norm, some_right

pytestmark = needs_trl("1.16")


def vision(**changes):
    """What makes a tiny trainer one with images."""
    made = dict(model=tiny_vision.make_model(), processing_class=tiny_vision.make_processor())
    return {**made, "dataset": tiny_vision.make_varied_rows(), **changes}


def build(folder, reward, **changes):
    return tiny.build(folder, reward, **vision(**changes))


def run(folder, reward=some_right, **changes):
    return tiny.run(folder, reward, **vision(**changes))


def one_step(folder, reward, **changes):
    """The trainer, its generation batch before the shuffle, and the gradient."""
    trainer = build(folder, reward, max_steps=1, **changes)
    (batch,), (gradient,) = train_and_keep(trainer)
    return trainer, batch, gradient


# -- the base, and the term by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [dict(), dict(num_iterations=2), dict(loss_type="dapo", entropy_coef=0.01)])
def test_coef_0_equals_trls_trainer_bit_for_bit(tmp_path, changes):
    _, _, base_losses, base = run(tmp_path, echo=False, **changes)
    _, _, losses, weights = run(tmp_path, echo_coef=0.0, **changes)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)


def hardest_steps(trainer, batch, entropy):
    """Written out: (row, bool [T]) of each group's clip, if all its rollouts succeed."""
    from echorl import segment_steps

    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    for first in range(0, len(steps), 4):
        rows = range(first, first + 4)
        means = {(r, k): entropy[r][steps[r] == k].mean().item() for r in rows for k in range(int(steps[r].max()) + 1)}
        row, step = max(means, key=means.get)
        yield row, (steps[row] >= 0) & (steps[row] <= step)


def test_on_all_success_groups_loss_and_gradient_are_the_clips_nll_by_hand(tmp_path):
    base = run(tmp_path, all_right, echo=False, max_steps=1)[1][0]
    assert all((g == 0).all() for g in base.values())
    trainer, batch, gradient = one_step(tmp_path, all_right, echo_coef=0.5)
    model = tiny_vision.make_model()
    logp, entropy = logps_and_entropies(model, batch)
    clips = list(hardest_steps(trainer, batch, entropy))
    loss = -0.5 * sum(logp[row][clip].sum() / clip.sum() for row, clip in clips) / 4
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert closest(gradient_of(model, loss), gradient) < 1e-5
    assert norm({n: g for n, g in gradient.items() if "visual" in n}) > 0  # the vision tower learns, too


def test_on_mixed_groups_it_is_added_to_grpos_own(tmp_path):
    _, batch, gradient = one_step(tmp_path, some_right, echo_coef=0.5, loss_type="dapo")
    model = tiny_vision.make_model()
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    policy = -((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask).sum() / mask.sum()
    echo = -(logp * batch["echo_weights"]).sum() / 4
    assert batch["advantages"].any()
    assert closest(gradient_of(model, policy + 0.5 * echo), gradient) < 1e-5


def test_weights_lie_on_the_response_alone(tmp_path):
    trainer, batch, _ = one_step(tmp_path, all_right, echo_coef=0.5)
    weights, mask = batch["echo_weights"], batch["completion_mask"].bool()
    assert weights.shape == batch["completion_ids"].shape
    assert not weights[~mask].any()
    assert weights.sum().item() == pytest.approx(4.0)
    image = trainer.model.config.image_token_id
    assert (batch["prompt_ids"] == image).any(1).all()
    assert not (batch["completion_ids"] == image).any()


@pytest.mark.parametrize("reward", [all_right, some_right])
def test_same_gradient_at_every_micro_batch_and_accumulation(tmp_path, reward):
    gradients = [
        run(
            tmp_path,
            reward,
            echo_coef=1.0,
            loss_type="dapo",
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=16 // size,
        )[1][0]
        for size in (16, 4, 1)
    ]
    assert all(closest(gradients[0], other) < 1e-5 for other in gradients[1:])


def test_rows_with_and_without_images_in_one_batch_are_refused(tmp_path):
    pictures = [tiny_vision.make_pictures(row) if row % 2 else [] for row in range(16)]
    rows = tiny_vision.make_rows(16, pictures, prompt=[[{"role": "user", "content": "1+1=?"}]] * 16)
    with pytest.raises(ValueError, match="a batch has prompts with and without images"):
        run(tmp_path, dataset=rows, max_steps=1)


# -- entropies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        (dict(), "recorder"),
        (dict(num_iterations=2), "old_pass"),
        (dict(generation_kwargs={"num_beams": 2}), "extra_forward"),
    ],
)
def test_entropies_are_those_of_a_forward_with_the_images(tmp_path, monkeypatch, changes, source):
    trainer = build(tmp_path, some_right, temperature=0.7, max_steps=1, echo_coef=0.1, **changes)
    entropy, name, rows, batch = entropies_of(trainer, monkeypatch)
    _, expected = logps_and_entropies(tiny_vision.make_model(), batch, temperature=0.7)
    mask = batch["completion_mask"].bool() & rows.unsqueeze(1)
    assert name == source
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-5)


@pytest.mark.parametrize("changes", [dict(), dict(num_iterations=2), dict(steps_per_generation=4)])
def test_no_extra_forward(tmp_path, changes):
    base, echo = CountForwards(), CountForwards()
    run(tmp_path, echo=False, callbacks=[base], **changes)
    run(tmp_path, echo_mine_only=True, callbacks=[echo], **changes)
    assert echo.calls == base.calls > 0


def test_a_dump_of_rollouts_names_images_and_holds_none(tmp_path):
    build(tmp_path, all_right, max_steps=1, echo_rollouts_every=1).train()
    rows = pq.read_table(next((tmp_path / "rollouts").glob("*.parquet"))).to_pylist()
    assert all('{"type": "image"}' in row["prompt"] and "PIL" not in row["prompt"] for row in rows)


# -- DAPO's rounds ----------------------------------------------------------------------------------------------------


def by_hand(found, letters, coef):
    """The mean over tokens of the mixed groups, plus the clips of every round over all prompts."""
    model, policy, echo, size, first = tiny_vision.make_model(), 0.0, 0.0, 0, 0
    for batch in found.rounds:
        logp, _ = logps_and_entropies(model, batch)
        echo = echo - (logp * batch["echo_weights"]).sum() / len(letters)
        kept = torch.tensor([letters[first + row // 4] == "m" for row in range(len(logp))])
        mask = batch["completion_mask"] * kept.unsqueeze(1)
        policy = policy - ((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask).sum()
        size, first = size + int(mask.sum()), first + len(logp) // 4
    return gradient_of(model, policy / size + coef * echo)


@pytest.mark.parametrize("size", [8, 2])
def test_images_travel_with_their_rows_from_round_to_round(tmp_path, size, monkeypatch):
    """Also those of clips beside the batch, which run in chunks of a micro-batch."""
    sizes, again = [], filtered_clips.checkpoint
    monkeypatch.setattr(filtered_clips, "checkpoint", lambda *a, **k: sizes.append(len(a[2])) or again(*a, **k))
    script = Script("m+++", "+++", "+m+", then="m")
    batching = dict(per_device_train_batch_size=size, gradient_accumulation_steps=16 // size)
    more = dict(echo_coef=0.5, echo_clip_per="rollout", **batching)
    found = first_batch(tmp_path, script, **vision(**more))
    assert counts(found.log)[0] >= 4
    assert sizes
    assert max(sizes) == size
    assert closest(by_hand(found, script.played, 0.5), found.gradient) < 1e-5


def test_old_log_probs_are_those_of_the_rows_own_images(tmp_path):
    found = first_batch(tmp_path, Script("m++-", "-m+", then="m"), **vision(num_iterations=2))
    logp, _ = logps_and_entropies(tiny_vision.make_model(), found.batch)
    mask = found.batch["completion_mask"].bool()
    assert torch.allclose(found.batch["old_per_token_logps"][mask], logp[mask], atol=1e-5)


def test_a_mistake_is_sampled_and_trained_on_after_its_own_rows_images(tmp_path):
    """Next to temperature 0 and without a request a mistake is the greedy continuation of its own row."""
    options = {"mistake_suffix": "", "mistake_temperature": 1e-5}
    script = Mistakes("+m++", "x..xx.")
    _, batch, _ = one_step(
        tmp_path, script, method="negative_rollouts", method_options=options, dataset=tiny_vision.make_varied_rows(16)
    )
    mask, mistakes = batch["completion_mask"].bool(), [3, 11, 15]
    assert [row for row in range(16) if batch["completion_ids"][row][mask[row]].tolist() in script.made] == mistakes
    logp, _ = logps_and_entropies(tiny_vision.make_model(), batch, temperature=1e-5)
    assert (logp[mistakes][mask[mistakes]] > -0.1).all()


@pytest.mark.slow
def test_one_and_two_processes_sample_keep_and_echo_the_same(tmp_path):
    """Images move to another process with the rows that are too many on their own."""
    single = distributed.images(tmp_path / "single", 1)
    assert_same(single["images", 24, 1], single["images", 6, 4])
    assert single["images", 24, 1][1]["method/rounds"] > 1
    assert single["images", 24, 1][1]["echo/entropy_source/extra_forward"] == 1.0
    for per_process in launch(tmp_path, 2, "images"):
        for found in per_process.values():
            assert_same(single["images", 24, 1], found)


# -- demonstrations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["luffy", "rl_sft", "uft"])
def test_what_was_sampled_is_what_is_trained_on(tmp_path, method):
    """With one to three images a row: a hint lies after the images, a trace in a rollout's place has its row's."""
    rows = tiny_vision.make_varied_rows(16).add_column("demonstration", ["1+1=2\n2+2=4"] * 16)
    options = {"beta": 0.0, "low": 0.95} if method == "uft" else {}
    _, batch, _ = one_step(tmp_path, all_right, dataset=rows, method=method, method_options=options, num_iterations=2)
    logp, _ = logps_and_entropies(tiny_vision.make_model(), batch)
    mask = batch["completion_mask"].bool()
    assert torch.allclose(batch["old_per_token_logps"][mask], logp[mask], atol=1e-5)


def test_a_demonstration_is_judged_by_its_own_rows_answer(tmp_path):
    """The same question about other images, with other answers."""

    def correct(completions, answer, **_):
        return [float(done[0]["content"] == gold) for done, gold in zip(completions, answer, strict=True)]

    prompts = [[{"role": "user", "content": "a=?"}]] * 16
    answers = ["1", "2"] * 8
    rows = tiny_vision.make_rows(prompt=prompts, demonstration="1", answer=answers)
    trainer = build(tmp_path, correct, dataset=rows, method="luffy")
    plan = trainer.stations.hooks.plan([rows[row] for row in (0, 0, 0, 0, 1, 1, 1, 1)], trainer.context)
    assert list(plan.demonstrations) == [3]


def test_the_rollouts_of_a_group_have_the_same_hint_where_images_lie_in_the_prompt(tmp_path):
    """Each rollout's row is decoded anew, so that its images are other objects."""
    rows = tiny_vision.make_rows(prompt=[[{"role": "user", "content": "a=?"}]] * 16, demonstration="1\n2\n3\n4\n5")
    trainer = build(tmp_path, all_right, dataset=rows, method="uft", method_options={"beta": 0.0})

    def example(step):
        trainer.state.global_step = step
        parts = [{"type": "image", "image": tiny_vision.make_pictures(0)[0]}, {"type": "text", "text": "a=?"}]
        return {"prompt": [{"role": "user", "content": parts}], "demonstration": "1\n2\n3\n4\n5"}

    hints = [[trainer.stations.hooks.hint(example(step), trainer.context) for _ in range(4)] for step in range(4)]
    assert all(hint == group[0] for group in hints for hint in group)
    assert len({tuple(group[0]) for group in hints}) > 1
