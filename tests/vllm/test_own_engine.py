"""As users run it: each training in a process of its own, with an engine of its own."""

from __future__ import annotations

import multiprocessing
import os

import pytest
import torch

from tests.trl.tiny import build
from tests.vllm.conftest import keep_weights

CHANGES = dict(echo_coef=0.1, num_iterations=2, max_steps=4, save_strategy="steps", save_steps=1)


def train(folder, settings: dict, resume: str | None) -> None:
    """Train, and keep the final weights in `folder`; runs in a process of its own."""
    os.environ.pop("MASTER_PORT", None)  # that of the engine in the process that started this one
    with pytest.MonkeyPatch.context() as patch:
        keep_weights(patch)
        trainer = build(folder, **settings, **CHANGES)
        trainer.train(resume_from_checkpoint=resume and str(folder / resume))
        torch.save(trainer.model.state_dict(), folder / f"{resume or 'whole'}.pt")


def weights(folder, settings: dict, resume: str | None = None) -> dict:
    process = multiprocessing.get_context("spawn").Process(target=train, args=(folder, settings, resume))
    process.start()
    process.join()
    assert process.exitcode == 0
    return torch.load(folder / f"{resume or 'whole'}.pt")


def test_resumed_in_a_new_process_equals_undisturbed_bit_for_bit(tmp_path, vllm):
    """From step 1, in the middle of a generation batch: the next one is sampled by a new engine."""
    whole, resumed = weights(tmp_path, vllm), weights(tmp_path, vllm, "checkpoint-1")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
