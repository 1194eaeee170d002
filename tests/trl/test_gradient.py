"""The gradient: zero for the base on all-success groups, the NLL of the clips for EchoRL, whatever the batching."""

import pytest
import torch

from echorl import EchoConfig, mine_echo_clips, segment_steps
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.tiny import all_right, build, make_model, make_tokenizer, run, some_right


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_all_success_base_gradient_is_zero_and_echo_is_the_nll_by_hand(tmp_path, temperature):
    _, base_grads, _, _ = run(tmp_path, all_right, echo=False, max_steps=1, temperature=temperature)
    assert all((g == 0).all() for g in base_grads[0].values())

    trainer = build(tmp_path, all_right, echo_coef=0.5, max_steps=1, temperature=temperature)
    (batch,), (gradient,) = train_and_keep(trainer)

    model = make_model()
    model.train()
    logp, entropy = logps_and_entropies(model, batch, temperature)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    loss = 0.0
    for group in range(4):  # written out: the step with the largest mean entropy among the group's four rollouts
        rows = range(4 * group, 4 * group + 4)
        means = {(r, k): entropy[r][steps[r] == k].mean().item() for r in rows for k in range(int(steps[r].max()) + 1)}
        row, step = max(means, key=means.get)
        clip = (steps[row] >= 0) & (steps[row] <= step)
        loss = loss - 0.5 * logp[row][clip].sum() / clip.sum() / 4
    assert closest(gradient_of(model, loss), gradient) < 1e-6


def test_weights_are_those_of_the_core_miner(tmp_path):
    trainer = build(tmp_path, some_right, max_steps=1)
    (batch,), _ = train_and_keep(trainer)
    _, entropy = logps_and_entropies(make_model(), batch)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    success = torch.tensor(some_right(_ids(batch))) == 1.0
    clips = mine_echo_clips(entropy, steps, success, torch.arange(16) // 4, EchoConfig())
    assert torch.equal(clips.weights, batch["echo_weights"])
    assert 0 < len(clips) <= 4


def _ids(batch):
    return [
        ids[mask.bool()].tolist() for ids, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    ]


@pytest.mark.parametrize("average_over", ["prompt", "clip"])
@pytest.mark.parametrize("reward", [all_right, some_right])
def test_same_gradient_at_every_micro_batch_and_accumulation(tmp_path, reward, average_over):
    grads = [
        run(
            tmp_path,
            reward,
            echo_coef=1.0,
            echo_average_over=average_over,
            loss_type="dapo",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=16 // size,
            max_steps=1,
        )[1][0]
        for size in (16, 8, 4, 2, 1)
    ]
    assert all(closest(grads[0], other) < 1e-5 for other in grads[1:])


def test_accumulation_over_several_generations_averages_them(tmp_path):
    """4 micro-batches from 2 generation batches of 2: the loss is the mean over all 8 prompts."""
    changes = dict(echo_coef=1.0, per_device_train_batch_size=8, gradient_accumulation_steps=4, steps_per_generation=2)
    kept, (gradient,) = train_and_keep(build(tmp_path, all_right, max_steps=1, **changes))
    model = make_model()
    loss = sum(-(logps_and_entropies(model, b)[0] * b["echo_weights"]).sum() for b in kept) / 8
    assert len(kept) == 2
    assert closest(gradient_of(model, loss), gradient) < 1e-5


def test_optimizer_steps_that_share_a_generation_batch_deliver_all_clips_once(tmp_path):
    """steps_per_generation beyond the accumulation: each step sees a share of the clips, unbiased but not equal."""
    trainer, grads, _, _ = run(
        tmp_path,
        all_right,
        echo_coef=1.0,
        learning_rate=0.0,
        steps_per_generation=4,
        max_steps=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
    )
    whole = run(
        tmp_path,
        all_right,
        echo_coef=1.0,
        learning_rate=0.0,
        max_steps=1,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
    )[1][0]
    mean = {n: (grads[0][n] + grads[1][n]) / 2 for n in whole}
    assert closest(whole, mean) < 1e-5
    assert trainer.stations.echo.receipt.num_left == 4


def test_gradient_checkpointing_changes_nothing(tmp_path):
    plain = run(tmp_path, echo_coef=0.1, max_steps=1)[1][0]
    checkpointed = run(tmp_path, echo_coef=0.1, max_steps=1, gradient_checkpointing=True)[1][0]
    assert closest(plain, checkpointed) < 1e-5


def test_tokenizer_of_the_tests_has_its_newlines():
    assert make_tokenizer().tokenize("1\n\n2.\n") == ["1", "\n\n", "2", ".\n"]
