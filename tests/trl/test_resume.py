"""A run that is stopped and resumed ends in the same weights, also from the middle of a generation batch."""

import pytest
import torch

from tests.trl.tiny import build, make_dataset, run, some_right

CASES = {
    "one batch a step": dict(),
    "two passes over each batch": dict(num_iterations=2),
    "batches that last four steps": dict(num_iterations=2, steps_per_generation=4),
    "steps that take two batches": dict(gradient_accumulation_steps=4, steps_per_generation=2),
    "a running quantile": dict(echo_entropy_quantile=0.5),
}


@pytest.mark.parametrize("stop", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, case, stop):
    changes = dict(echo_coef=0.1, max_steps=6, save_strategy="steps", save_steps=1, **CASES[case])
    whole, _, _, weights = run(tmp_path / "whole", **changes)
    resumed = build(tmp_path / "whole", **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    again = dict(resumed.model.named_parameters())
    assert all(torch.equal(weights[n], again[n]) for n in weights)
    assert resumed.statistics.groups == whole.statistics.groups
    assert resumed.stations.miner.threshold == whole.stations.miner.threshold


def test_resume_in_a_later_epoch_sees_that_epochs_prompts(tmp_path):
    changes = dict(echo_coef=0.1, max_steps=6, save_strategy="steps", save_steps=1, dataset=make_dataset(8))
    *_, weights = run(tmp_path, **changes)  # 2 steps an epoch
    resumed = build(tmp_path, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert all(torch.equal(weights[n], p) for n, p in resumed.model.named_parameters())


def test_resume_with_coef_0_works_too(tmp_path, caplog):
    changes = dict(echo_coef=0.0, max_steps=4, save_strategy="steps", save_steps=1, num_iterations=2)
    *_, weights = run(tmp_path, **changes)
    resumed = build(tmp_path, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.equal(weights[n], p) for n, p in resumed.model.named_parameters())
    assert "missing keys" not in caplog.text  # lm_head.weight is tied to the embedding


def test_a_checkpoint_of_plain_grpo_can_be_resumed(tmp_path):
    run(tmp_path, echo=False, max_steps=2, save_strategy="steps", save_steps=1)
    trainer = build(tmp_path, some_right, max_steps=3)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert trainer.state.global_step == 3
