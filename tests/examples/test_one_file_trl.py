"""EchoRL in one file equals the adapter: the same losses and gradients, step by step."""

from __future__ import annotations

import pytest
import torch
from trl import GRPOConfig

from echorl.trl import EchoGRPOTrainer
from examples.one_file_trl import OneFileEchoTrainer
from tests.trl.tiny import Gradients, make_dataset, make_model, make_tokenizer, settings

STEPS = 3


def some_solved(completion_ids, number, **_):
    """All right for every other prompt, by chance for the rest."""
    return [float(n % 2 == 0 or sum(ids) % 3 == 0) for ids, n in zip(completion_ids, number, strict=True)]


def train(trainer_class, args, **options):
    gradients = Gradients()
    trainer = trainer_class(
        make_model(), some_solved, args, make_dataset(), processing_class=make_tokenizer(), callbacks=[gradients],
        **options,
    )  # fmt: skip
    losses, compute_loss = [], trainer._compute_loss

    def keep_loss(*inputs):
        loss = compute_loss(*inputs)
        losses.append(loss.item())
        return loss

    trainer._compute_loss = keep_loss  # the log's are rounded
    trainer.train()
    return trainer, losses, gradients.steps


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_losses_and_gradients_equal_the_adapters(tmp_path, accumulation, loss_type):
    changes = dict(gradient_accumulation_steps=accumulation, max_steps=STEPS, loss_type=loss_type)
    args = settings(tmp_path / "echo", echo_coef=0.5, **changes)
    adapter, losses, gradients = train(EchoGRPOTrainer, args)
    plain = settings(tmp_path / "plain", echo=False, **changes)
    assert isinstance(plain, GRPOConfig)
    one_file, copied_losses, copied_gradients = train(OneFileEchoTrainer, plain, echo_coef=0.5)

    assert adapter.statistics.groups["mixed"] > 0
    assert adapter.statistics.groups["all_success"] > 0
    lines = one_file.state.log_history[:STEPS]
    clips = [line["echo/clips/mixed"] + line["echo/clips/all_success"] for line in adapter.state.log_history[:STEPS]]
    assert [line["echo/clips"] for line in lines] == clips
    assert len(losses) == STEPS * accumulation
    assert copied_losses == pytest.approx(losses, abs=1e-6)
    assert len(gradients) == len(copied_gradients) == STEPS
    for step, copied in zip(gradients, copied_gradients, strict=True):
        assert step.keys() == copied.keys()
        assert all(torch.allclose(step[name], copied[name], rtol=1e-6, atol=1e-6) for name in step)


def test_the_echo_makes_the_difference(tmp_path):
    """What is compared above is not GRPO's gradient alone."""
    plain = settings(tmp_path, echo=False, max_steps=1)
    with_echo, without = (train(OneFileEchoTrainer, plain, echo_coef=coef)[2][0] for coef in (0.5, 0.0))
    assert max((with_echo[name] - without[name]).abs().max() for name in with_echo) > 1e-3
