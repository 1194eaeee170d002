"""A step without policy gradient is not the echo's alone where something else in it has a gradient: both modes."""

from __future__ import annotations

import pytest
import torch

from tests.trl.test_methods import SOLUTION, first_batch, same, train
from tests.trl.tiny import all_right, make_model, run

NO_BONUS = {"beta": 0.0, "entropy_coef": 0.0}
LEARNS_ITS_DEMONSTRATIONS = [
    ("rl_sft", {}),
    ("uft", {**NO_BONUS, "low": 1.0, "high": 1.0, "hint_weight": 1.0}),
]


def log(result, name):
    return result[0].state.log_history[0][name]


def unmoved(result):
    return all(torch.equal(result[3][name], weight) for name, weight in make_model().named_parameters())


@pytest.mark.parametrize("mode", ["allow", "skip"])
@pytest.mark.parametrize(("method", "options"), LEARNS_ITS_DEMONSTRATIONS)
def test_demonstrations_are_learned_although_all_groups_are_all_right(tmp_path, caplog, method, options, mode):
    changes = dict(method_options=options)
    found = train(tmp_path, method, all_right, echo_without_policy_gradient=mode, echo_coef=1e-30, **changes)
    assert log(found, "echo/without_policy_gradient") == 0.0
    assert log(found, "echo/frac_degenerate") == 1.0
    assert not any("no policy gradient" in record.getMessage() for record in caplog.records)
    assert not unmoved(found)
    assert same(found, train(tmp_path, method, all_right, echo_coef=0.0, **changes))


def test_a_trace_without_advantage_leaves_the_echo_alone(tmp_path):
    changes = dict(method_options={"entropy_coef": 0.0}, echo_without_policy_gradient="skip", echo_coef=0.1)
    found = train(tmp_path, "luffy", all_right, **changes)
    assert log(found, "method/trace_used") == 1.0
    assert log(found, "echo/without_policy_gradient") == 1.0
    assert unmoved(found)


def test_a_trace_with_an_advantage_does_not(tmp_path):
    def only_the_solution(completions, **_):
        return [float(text == SOLUTION) for text in completions]

    changes = dict(method_options={"entropy_coef": 0.0}, echo_without_policy_gradient="skip", echo_coef=0.1)
    found = train(tmp_path, "luffy", only_the_solution, **changes)
    assert log(found, "echo/without_policy_gradient") == 0.0
    assert not unmoved(found)


def test_without_a_demonstration_the_echo_is_alone(tmp_path):
    for method, options in (("rl_sft", {}), ("uft", {**NO_BONUS, "hint_steps": 0})):
        changes = dict(method_options=options, echo_without_policy_gradient="skip")
        if method == "rl_sft":
            from tests.trl.tiny import make_dataset

            changes["dataset"] = make_dataset().add_column("demonstration", [None] * 32)
        assert log(train(tmp_path, method, all_right, **changes), "echo/without_policy_gradient") == 1.0


def test_an_entropy_bonus_is_a_gradient_too(tmp_path, caplog):
    found = run(tmp_path, all_right, entropy_coef=0.01, max_steps=1)
    assert log(found, "echo/without_policy_gradient") == 0.0
    assert not any("no policy gradient" in record.getMessage() for record in caplog.records)


def test_hints_of_rollouts_masked_as_truncated_are_not_learned_nor_counted(tmp_path):
    options = {**NO_BONUS, "low": 1.0, "high": 1.0}
    changes = dict(mask_truncated_completions=True, max_completion_length=6, method_options=options)
    _, batch, _ = first_batch(tmp_path, "uft", all_right, **changes)
    kept = batch["completion_mask"].any(1)
    assert 0 < int(kept.sum()) < 16
    assert batch["hint_mask"].any(1).tolist() == kept.tolist()
    assert batch["hint_count"] == batch["hint_mask"].sum()
