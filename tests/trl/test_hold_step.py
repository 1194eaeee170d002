"""Held optimiser steps: the sum of what was held, nothing before, and the same after a resume."""

from __future__ import annotations

import pytest
import torch

from tests.trl.scripted import Script, same
from tests.trl.tiny import build, make_model, run

HOLD = dict(method="hold_step", method_options={"groups": 2}, echo_coef=0.0, lr_scheduler_type="constant")


def script():
    """One mixed group a batch."""
    return Script(*["m+-+"] * 12)


def test_two_held_batches_are_one_step_on_both(tmp_path):
    """The same rollouts, since the weights stay: as with twice the accumulation."""
    held = run(tmp_path, script(), max_steps=4, **HOLD)
    changes = dict(gradient_accumulation_steps=4, steps_per_generation=2, max_steps=2, lr_scheduler_type="constant")
    both = run(tmp_path, script(), method="grpo", echo_coef=0.0, **changes)
    assert all(torch.allclose(held[3][name], both[3][name], atol=1e-6) for name in held[3])
    logged = [entry["method/held"] for entry in held[0].state.log_history if "method/held" in entry]
    assert logged == [1.0, 0.0, 1.0, 0.0]


def test_nothing_moves_while_steps_are_held_and_the_last_one_never_is(tmp_path):
    weights = []

    trainer = build(tmp_path, script(), max_steps=3, **{**HOLD, "method_options": {"groups": 99}}, weight_decay=0.1)
    step = trainer.part.before_step

    def spy(parameters, *, last):
        weights.append([p.detach().clone() for p in parameters])
        step(parameters, last=last)

    trainer.part.before_step = spy
    trainer.train()
    assert all(torch.equal(a, b) for a, b in zip(weights[0], weights[2], strict=True))
    first = dict(make_model().named_parameters())
    assert any(not torch.equal(first[name], p) for name, p in trainer.model.named_parameters())


def test_max_held_ends_the_wait(tmp_path):
    options = {"groups": 99, "max_held": 1}
    trainer, *_ = run(tmp_path, script(), max_steps=4, **{**HOLD, "method_options": options})
    logged = [entry["method/held"] for entry in trainer.state.log_history if "method/held" in entry]
    assert logged == [1.0, 0.0, 1.0, 0.0]


def test_without_waiting_it_is_grpo_bit_for_bit(tmp_path):
    one = run(tmp_path, script(), **{**HOLD, "method_options": {"groups": 0}})
    assert same(one, run(tmp_path, script(), method="grpo", echo_coef=0.0, lr_scheduler_type="constant"))


def test_a_run_resumed_in_the_middle_of_a_wait_goes_on_with_it(tmp_path):
    def by_prompt(number, **_):
        return [float(n % 4 == 0 and i % 2) for i, n in enumerate(number)]

    changes = dict(HOLD, method_options={"groups": 3}, max_steps=5, save_strategy="steps", save_steps=1)
    *_, weights = run(tmp_path, by_prompt, **changes)
    for stop in (1, 2):
        resumed = build(tmp_path, by_prompt, **changes)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
        assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(num_iterations=2), "on a part of a generation batch"),
        (dict(echo_coef=0.1, echo_without_policy_gradient="skip"), "echo_without_policy_gradient='skip'"),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **{**HOLD, **changes})
