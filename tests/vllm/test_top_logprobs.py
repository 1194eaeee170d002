"""`echo_entropy_from="top_logprobs"` on a real engine: the entropy within its bound, without a forward."""

from __future__ import annotations

import pytest
import torch

from tests.trl.by_hand import logps_and_entropies
from tests.trl.test_base_identity import CountForwards
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import all_right, build, first, run
from tests.vllm.test_engine import ENGINE_ERROR, OFF, load

ASKED = dict(echo_entropy_from="top_logprobs")


def test_no_forward_more_than_the_base_trainers(tmp_path, vllm, caplog):
    base, echo = CountForwards(), CountForwards()
    changes = {**vllm, **OFF, "max_steps": 2}
    run(tmp_path, all_right, echo=False, callbacks=[base], **changes)
    trainer, *_ = run(tmp_path, all_right, echo_coef=0.1, callbacks=[echo], **ASKED, **changes)
    assert echo.calls == base.calls > 0
    assert first(trainer, "entropy_source/top_logprobs") == 1.0
    assert first(trainer, "clips/all_success") == 4.0
    assert not any("extra forward" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_it_is_the_entropy_within_the_bound(tmp_path, vllm, monkeypatch, temperature):
    """The tiny model has 22 tokens, so that two are not among the 20 most likely ones."""
    trainer = build(tmp_path, all_right, **vllm, **OFF, **ASKED, temperature=temperature, max_steps=1)
    entropy, source, _, batch = entropies_of(trainer, monkeypatch)
    logp, expected = logps_and_entropies(load(vllm), batch, temperature)
    mask = batch["completion_mask"].bool()
    assert source == "top_logprobs"
    assert first(trainer, "entropy_bound") < 0.1
    assert (entropy - expected)[mask].abs().max() < ENGINE_ERROR
    # TRL still has the log-prob of the sampled token, not of the most likely one
    assert (batch["sampling_per_token_logps"] - logp)[mask].abs().max() < ENGINE_ERROR


def test_a_pass_that_is_made_anyway_comes_first(tmp_path, vllm):
    trainer, *_ = run(tmp_path, all_right, **vllm, **ASKED)
    assert first(trainer, "entropy_source/old_pass") == 1.0
    assert trainer.vllm_generation.logprobs == 0


def test_coef_0_equals_the_base_trainer_bit_for_bit(tmp_path, vllm):
    _, _, base_losses, base = run(tmp_path, echo=False, **vllm, **OFF)
    _, _, losses, weights = run(tmp_path, echo_coef=0.0, **vllm, **OFF, **ASKED)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)
