"""`echo_entropy_from="surprisal"` on a real engine: what its log-probs are, and that they cost no forward."""

from __future__ import annotations

import math

import pytest
import torch

from tests.trl.by_hand import logps_and_entropies
from tests.trl.test_base_identity import CountForwards
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import all_right, build, first, run
from tests.vllm.test_engine import ENGINE_ERROR, OFF, load

ASKED = dict(echo_entropy_from="surprisal")


@pytest.mark.parametrize("sampling", [{}, {"temperature": 0.7, "top_k": 5}], ids=str)
def test_without_the_correction_no_forward_more_than_the_base_trainers(tmp_path, vllm, sampling, caplog):
    base, echo = CountForwards(), CountForwards()
    changes = {**vllm, **OFF, **sampling, "max_steps": 3}
    run(tmp_path, all_right, echo=False, callbacks=[base], **changes)
    trainer, *_ = run(tmp_path, all_right, echo_coef=0.1, callbacks=[echo], **ASKED, **changes)
    assert echo.calls == base.calls > 0
    assert first(trainer, "entropy_source/surprisal") == 1.0
    assert first(trainer, "clips/all_success") == 4.0
    assert not any("extra forward" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_it_is_minus_log_pi_at_the_sampling_temperature(tmp_path, vllm, monkeypatch, temperature):
    trainer = build(tmp_path, all_right, **vllm, **OFF, **ASKED, temperature=temperature, max_steps=1)
    entropy, source, _, batch = entropies_of(trainer, monkeypatch)
    logp, expected = logps_and_entropies(load(vllm), batch, temperature)
    mask = batch["completion_mask"].bool()
    assert source == "surprisal"
    assert (entropy + logp)[mask].abs().max() < ENGINE_ERROR
    error = (entropy - expected)[mask]  # an unbiased estimate of the entropy
    assert error.mean().abs() < 4 * error.std() / math.sqrt(error.numel())


def test_top_k_leaves_the_surprisal_of_the_tokens_that_are_kept(tmp_path, vllm, monkeypatch):
    """The tiny model is nearly even over 20 tokens, so of 3 kept ones each has a third: log 3, not log 20."""
    trainer = build(tmp_path, all_right, **vllm, **OFF, **ASKED, top_k=3, max_steps=1)
    entropy, _, _, batch = entropies_of(trainer, monkeypatch)
    mask = batch["completion_mask"].bool()
    assert entropy[mask].mean().item() == pytest.approx(math.log(3), abs=0.1)
    assert logps_and_entropies(load(vllm), batch)[1][mask].mean() > 2.5


@pytest.mark.parametrize("changes", [{}, {**OFF, "num_iterations": 2}], ids=["corrected", "reused"])
def test_a_pass_that_is_made_anyway_comes_first(tmp_path, vllm, changes):
    trainer, *_ = run(tmp_path, all_right, **vllm, **ASKED, **changes)
    assert first(trainer, "entropy_source/old_pass") == 1.0


def test_coef_0_equals_the_base_trainer_bit_for_bit(tmp_path, vllm):
    _, _, base_losses, base = run(tmp_path, echo=False, **vllm, **OFF)
    _, _, losses, weights = run(tmp_path, echo_coef=0.0, **vllm, **OFF, **ASKED)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)
