"""Resumed with other settings a run goes on as plain GRPO does, or is refused before its first step."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from echorl.trl import checkpoint
from tests.trl.test_methods import right_if_solution, worked
from tests.trl.tiny import build, make_dataset, run, some_right


@dataclass(frozen=True)
class Case:
    """A run (`old`, see OLD) resumed from `checkpoint-STOP` with these changes."""

    old: str
    stop: int
    changes: dict[str, Any]


def batching(size: int, accumulation: int, steps: int | None = None, passes: int = 1) -> dict[str, Any]:
    return dict(
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=steps,
        num_iterations=passes,
    )


OLD = {
    "8x2": dict(echo_coef=0.1, **batching(8, 2)),
    "8x2 of 4": dict(echo_coef=0.1, **batching(8, 2, steps=4)),
    "8x2 twice": dict(echo_coef=0.0, **batching(8, 2, passes=2)),
}
EIGHT = {  # within and between batches, each setting changed alone and together with another one
    "between, 8x2 to 4x4": Case("8x2", 1, batching(4, 4)),
    "later between, 8x2 to 4x4": Case("8x2", 3, batching(4, 4)),
    "within, steps_per_generation 4 to 8": Case("8x2 of 4", 1, batching(8, 2, steps=8)),
    "within, steps_per_generation 4 to 2, two passes": Case("8x2 of 4", 1, batching(8, 2, 2, passes=2)),
    "within, 8x2 to 4x4 of as many": Case("8x2 of 4", 3, batching(4, 4, steps=8)),
    "within, two passes to one, 2 to 1": Case("8x2 twice", 1, batching(8, 1, passes=1)),
    "within, echo_coef from 0": Case("8x2 twice", 3, {}),
    "within, beta from 0": Case("8x2 of 4", 1, dict(beta=0.1)),
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a run that was stopped after three steps, made once."""
    folders = {}

    def get(name: str):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name.replace(" ", "-"))
            run(folders[name], max_steps=3, save_strategy="steps", save_steps=1, **OLD[name])
        return folders[name]

    return get


@pytest.fixture
def said(monkeypatch):
    """The warnings at a resume."""
    lines = []
    monkeypatch.setattr(checkpoint.logger, "warning", lines.append)
    return lines


def resume(folder, stop, reward=some_right, output="resumed", **changes):
    """The trainer, after two optimiser steps more."""
    trainer = build(folder / output, reward, **{"max_steps": stop + 2, **changes})
    trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{stop}"))
    return trainer


def same_weights(one, other):
    weights = dict(one.model.named_parameters())
    return all(torch.equal(weights[name], parameter) for name, parameter in other.model.named_parameters())


def check_like_plain(folder, case):
    """Clips are mined and reach the loss, and the weights are those of plain GRPO resumed with these settings."""
    changes = {**OLD[case.old], **case.changes}
    if "beta" in changes:
        changes["model"] = str(folder / "checkpoint-1")  # that of the reference
    trainer = resume(folder, case.stop, **{**changes, "echo_mine_only": True})
    assert trainer.state.global_step == case.stop + 2
    assert trainer.stations.echo.receipt.mined > 0
    assert trainer._step % trainer.args.gradient_accumulation_steps == 0
    del changes["echo_coef"]
    assert same_weights(trainer, resume(folder, case.stop, echo=False, **changes))


@pytest.mark.parametrize("name", EIGHT)
def test_other_settings_go_on_as_plain_grpo(stopped, said, name):
    case = EIGHT[name]
    check_like_plain(stopped(case.old), case)
    assert len(said) == name.startswith("within")


def test_a_method_with_tensors_of_its_own_begins_a_new_batch(stopped, said):
    """Plain GRPO has no such method; the batch of the checkpoint has no traces."""
    own = dict(reward=right_if_solution, dataset=worked(), max_completion_length=32, method="luffy")
    trainer = resume(stopped("8x2 twice"), 1, **{**OLD["8x2 twice"], **own, "echo_coef": 0.1})
    assert trainer.state.global_step == 3
    assert "echo_coef is 0.1 and was 0.0" in said[0]
    assert "method is 'luffy' and was None" in said[0]


def copied(checkpoint, folder, change):
    """The folder, with a copy of the checkpoint whose state is changed."""
    shutil.copytree(checkpoint, folder / checkpoint.name)
    path = folder / checkpoint.name / "echorl_state_0.pt"
    state = torch.load(path)
    change(state)
    torch.save(state, path)
    return folder


def test_other_processes_begin_a_new_batch(stopped, said, tmp_path):
    own = {"num_processes": 2}
    source = stopped("8x2 of 4") / "checkpoint-1"
    folder = copied(source, tmp_path, lambda state: state["settings"].update(own))
    check_like_plain(folder, Case("8x2 of 4", 1, {}))
    assert "num_processes is 1 and was 2" in said[0]


def test_a_run_resumed_with_other_batching_can_be_resumed_again_bit_for_bit(tmp_path):
    """In later epochs: 2 steps an epoch before, 4 after."""
    changes = dict(echo_coef=0.1, dataset=make_dataset(8), save_strategy="steps", save_steps=1)
    run(tmp_path, max_steps=5, **changes, **batching(8, 2))
    whole = resume(tmp_path, 5, max_steps=10, output=".", **changes, **batching(8, 1, steps=2))
    again = resume(tmp_path, 7, max_steps=10, output="again", **changes, **batching(8, 1, steps=2))
    assert same_weights(whole, again)
