"""`echo_coef=0` is the base trainer, bit for bit; and EchoRL adds no forward where DESIGN says so."""

import pytest
import torch
from transformers import TrainerCallback

from tests.trl.tiny import all_right, make_model, run, some_right

LOSS_TYPES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"]


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_coef_0_equals_the_base_trainer_bit_for_bit(tmp_path, loss_type, dropout):
    kwargs = dict(loss_type=loss_type)
    _, _, base_losses, base = run(tmp_path, echo=False, model=make_model(dropout=dropout), **kwargs)
    _, _, losses, weights = run(tmp_path, model=make_model(dropout=dropout), echo_coef=0.0, **kwargs)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)


def test_coef_0_equals_the_base_trainer_with_reuse_of_generations(tmp_path):
    kwargs = dict(num_iterations=2, steps_per_generation=4, max_steps=4)
    _, _, base_losses, base = run(tmp_path, echo=False, model=make_model(dropout=0.1), **kwargs)
    _, _, losses, weights = run(tmp_path, model=make_model(dropout=0.1), echo_coef=0.0, **kwargs)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)


@pytest.mark.parametrize(
    "changes",
    [
        dict(model=lambda: make_model(dropout=0.2)),
        dict(num_iterations=2, steps_per_generation=4),
        dict(echo_without_policy_gradient="skip", echo_coef=0.0),
    ],
)
def test_mining_only_equals_the_base_trainer_bit_for_bit_and_logs_clips(tmp_path, caplog, changes):
    model = changes.get("model", make_model)
    base_changes = {name: value for name, value in changes.items() if not name.startswith("echo_")}
    _, _, base_losses, base = run(tmp_path, echo=False, max_steps=3, **{**base_changes, "model": model()})
    changes = {**changes, "model": model(), "echo_mine_only": True}
    trainer, _, losses, weights = run(tmp_path, max_steps=3, **changes)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)
    log = trainer.state.log_history[0]
    assert log["echo/clips/mixed"] + log["echo/clips/all_success"] > 0
    assert log["echo/nll"] > 0
    assert log["echo/coef"] == 0.0
    assert trainer.stations.echo.receipt.mined > 0
    assert not any("no policy gradient" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_every_loss_type_trains_with_echo(tmp_path, loss_type):
    _, _, base_losses, base = run(tmp_path, echo=False, loss_type=loss_type, max_steps=1)
    trainer, _, losses, weights = run(tmp_path, loss_type=loss_type, echo_coef=0.1, max_steps=1)
    nll = trainer.state.log_history[0]["echo/nll"]
    clips = trainer.state.log_history[0]["echo/clips/mixed"] + trainer.state.log_history[0]["echo/clips/all_success"]
    assert losses[0] - base_losses[0] == pytest.approx(0.1 * nll * clips / 4, abs=1e-5)
    assert any(not torch.equal(base[name], weights[name]) for name in base)


class CountForwards(TrainerCallback):
    """Counts calls of the model (sampling, scoring and training alike) and of its LM head's backbone rows."""

    def __init__(self):
        self.calls = 0

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.model.register_forward_hook(lambda *_: setattr(self, "calls", self.calls + 1))


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        (dict(), "recorder"),
        (dict(gradient_accumulation_steps=4, steps_per_generation=2), "recorder"),
        (dict(num_iterations=2), "old_pass"),
        (dict(steps_per_generation=4), "old_pass"),
        (dict(temperature=0.7, top_k=5, top_p=0.9), "recorder"),
    ],
)
def test_no_extra_forward(tmp_path, changes, source):
    base, echo = CountForwards(), CountForwards()
    run(tmp_path, echo=False, callbacks=[base], max_steps=4, **changes)
    trainer, *_ = run(tmp_path, echo_mine_only=True, callbacks=[echo], max_steps=4, **changes)
    assert echo.calls == base.calls > 0
    assert trainer.state.log_history[0][f"echo/entropy_source/{source}"] == 1.0


def test_the_extra_forward_is_counted_by_that_hook(tmp_path):
    base, echo = CountForwards(), CountForwards()
    run(tmp_path, all_right, echo=False, callbacks=[base], generation_kwargs={"num_beams": 2})
    run(tmp_path, all_right, echo_mine_only=True, callbacks=[echo], generation_kwargs={"num_beams": 2})
    assert echo.calls > base.calls


def test_reward_functions_without_a_verifier_are_fine_at_coef_0(tmp_path):
    trainer, *_ = run(tmp_path, [some_right, all_right], echo_coef=0.0)
    assert sum(trainer.statistics.groups.values()) == 0
