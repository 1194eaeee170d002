"""A real model on a real engine: SmolLM2-135M, conversational prompts, sampled by vLLM on this CPU."""

from __future__ import annotations

import pytest

from tests.real.test_smollm2 import MODEL, build, half_right
from tests.trl.by_hand import train_and_keep
from tests.trl.tiny import Gradients, first, norm

pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="SmolLM2 is not in the cache: run `make real-model` first")
VLLM = dict(use_vllm=True, vllm_mode="colocate", vllm_max_model_length=128)


def test_the_papers_problem_and_its_cure(tmp_path):
    """All groups right: GRPO's gradient is exactly zero, EchoRL's is not, and the entropies cost no forward."""
    base, echo = Gradients(), Gradients()
    build(tmp_path, echo=False, callbacks=[base], **VLLM).train()
    assert all((gradient == 0).all() for gradient in base.steps[0].values())
    trainer = build(tmp_path, echo_coef=0.1, callbacks=[echo], **VLLM)
    trainer.train()
    assert norm(echo.steps[0]) > 1e-2
    assert first(trainer, "entropy_source/old_pass") == 1.0
    assert first(trainer, "clips/all_success") == 2.0


def test_two_steps_with_reuse_of_what_the_engine_sampled(tmp_path):
    trainer = build(tmp_path, half_right, num_iterations=2, max_steps=3, learning_rate=1e-4, **VLLM)
    kept, _ = train_and_keep(trainer)
    assert len(kept) == 2
    assert first(trainer, "clips/all_success") == first(trainer, "clips/mixed") == 1.0
    for batch in kept:  # after the update too, the engine's log-probs are the trainer's, but for bfloat16
        mask = batch["completion_mask"].bool()
        assert (batch["sampling_per_token_logps"] - batch["old_per_token_logps"])[mask].abs().mean() < 0.1
