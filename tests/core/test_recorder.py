from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM, LogitsProcessorList, PreTrainedModel, Qwen2ForCausalLM

from echorl import EntropyRecorder, logp_and_entropy
from tests.tiny import random_model

EOS, VOCAB_SIZE = 1, 37


@pytest.fixture(params=[Qwen2ForCausalLM, LlamaForCausalLM])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    sizes = dict(hidden=16, vocab_size=VOCAB_SIZE, max_position_embeddings=64)
    return random_model(request.param, **sizes, initializer_range=0.5).eval()


PROMPT = torch.tensor([[5, 6, 7]]).repeat(6, 1)


def sample(model: PreTrainedModel, *processors: object, **settings: object) -> torch.Tensor:
    torch.manual_seed(3)
    options = dict(do_sample=True, max_new_tokens=16, temperature=1.0, top_k=0) | settings
    mask = torch.ones_like(PROMPT)
    return model.generate(PROMPT, attention_mask=mask, logits_processor=LogitsProcessorList(processors), **options)


SETTINGS = [{}, {"temperature": 0.7}, {"temperature": 1.3, "top_k": 5, "top_p": 0.9}, {"do_sample": False}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_sampling_is_unchanged(model: PreTrainedModel, settings: dict) -> None:
    recorder = EntropyRecorder(settings.get("temperature", 1.0))
    recorded, state = sample(model, recorder, **settings), torch.get_rng_state()
    assert torch.equal(recorded, sample(model, **settings))
    assert torch.equal(state, torch.get_rng_state())
    assert recorder.entropies.shape == (6, recorded.shape[1] - PROMPT.shape[1])


@pytest.mark.parametrize("settings", SETTINGS)
def test_entropies_are_those_of_a_forward_pass_at_the_sampling_temperature(
    model: PreTrainedModel, settings: dict
) -> None:
    temperature = settings.get("temperature", 1.0)
    recorder = EntropyRecorder(temperature)
    sequences = sample(model, recorder, **settings)
    completion = sequences[:, PROMPT.shape[1] :]
    with torch.no_grad():
        logits = model(sequences).logits[:, PROMPT.shape[1] - 1 : -1]
    _, expected = logp_and_entropy(logits, completion, temperature=temperature)
    own = (completion == EOS).cumsum(1) - (completion == EOS).long() == 0  # up to and with EOS
    assert own.any(1).all()
    torch.testing.assert_close(recorder.entropies[own], expected[own], rtol=1e-5, atol=1e-5)
    assert expected[own].std() > 0.01


def test_nothing_recorded() -> None:
    assert EntropyRecorder().entropies.shape == (0, 0)


def test_scores_pass_through_untouched() -> None:
    scores = torch.randn(2, 5, requires_grad=True)
    before, recorder = scores.detach().clone(), EntropyRecorder(0.5)
    assert recorder(torch.zeros(2, 1), scores) is scores
    assert torch.equal(scores, before)
    assert not recorder.entropies.requires_grad
