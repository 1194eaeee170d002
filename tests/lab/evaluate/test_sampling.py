"""Sampling: groups, ends, entropies and seeds, on the tests' tiny model."""

from __future__ import annotations

import pytest
import torch

from echorl.lab.evaluate.sampling import Completions, ends_of, judge, sample
from tests.trl.tiny import make_model, make_tokenizer

PROMPTS = ["1+1=?\n", "1+2=?\n", "12345=?\n"]


@pytest.fixture(scope="module")
def completions() -> Completions:
    return sample(make_model(), make_tokenizer(), PROMPTS, group_size=2, max_new_tokens=6, batch_size=4)


def test_shapes(completions):
    assert len(completions.texts) == len(completions.token_ids) == len(completions.entropies) == 6
    for ids, entropies in zip(completions.token_ids, completions.entropies, strict=True):
        assert 1 <= len(ids) == len(entropies) <= 6
        assert 1 not in ids[:-1]  # nothing after the end-of-sequence token


def test_entropies_are_those_of_a_forward_pass(completions):
    model, tokenizer = make_model(), make_tokenizer()
    for row in (0, 5):
        prompt = tokenizer.encode(PROMPTS[row // 2], add_special_tokens=False)
        ids = prompt + completions.token_ids[row]
        with torch.no_grad():
            probs = model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].softmax(-1)
        expected = torch.special.entr(probs).sum(-1)
        torch.testing.assert_close(torch.tensor(completions.entropies[row]), expected, atol=1e-5, rtol=1e-4)


def test_same_seed_same_completions_and_the_random_state_stays():
    model, tokenizer = make_model(), make_tokenizer()
    model.train()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    runs = [
        sample(model, tokenizer, PROMPTS, group_size=2, max_new_tokens=6, seed=seed).token_ids for seed in (0, 0, 1)
    ]
    assert torch.rand(1) == expected
    assert model.training
    assert runs[0] == runs[1] != runs[2]


def test_prompts_computed_once_give_the_same_completions(completions):
    model, tokens = make_model(), []
    forward = model.model.forward

    def count(input_ids, **kwargs):
        tokens.append(input_ids.numel())
        return forward(input_ids=input_ids, **kwargs)

    model.model.forward = count
    options = dict(group_size=2, max_new_tokens=6, batch_size=4)
    shared = sample(model, make_tokenizer(), PROMPTS, share_prompts=True, **options)
    shared_tokens = sum(tokens)
    tokens.clear()
    plain = sample(model, make_tokenizer(), PROMPTS, **options)
    assert shared.token_ids == plain.token_ids == completions.token_ids
    assert shared_tokens < sum(tokens)
    torch.testing.assert_close(
        [torch.tensor(row) for row in shared.entropies], [torch.tensor(row) for row in plain.entropies]
    )


def test_bf16_rounds(completions):
    options = dict(group_size=2, max_new_tokens=6, batch_size=4)
    entropies = sample(make_model(), make_tokenizer(), PROMPTS, bf16=True, **options).entropies
    assert entropies != completions.entropies
    assert entropies[0][0] == pytest.approx(completions.entropies[0][0], abs=0.05)


def test_prompts_computed_once_with_images_are_refused():
    with pytest.raises(ValueError, match="share_prompts=True cannot be combined with images"):
        sample(make_model(), make_tokenizer(), ["1"], images=[None], group_size=2, max_new_tokens=6, share_prompts=True)


def test_no_prompts():
    assert sample(make_model(), make_tokenizer(), [], group_size=2, max_new_tokens=6).texts == []


def test_judge_repeats_columns_and_takes_none_for_a_failure():
    completions = Completions(["a", "b", "c", "d"], [], [], 2)
    seen = {}

    def verifier(completions, **columns):
        seen.update(columns)
        return [1.0, 0.9, None, 2.0]

    assert judge(verifier, completions, {"number": [7, 8]}) == [[True, False], [False, True]]
    assert seen == {"number": [7, 7, 8, 8]}


@pytest.mark.parametrize(("configured", "ends"), [(None, [1]), (1, [1]), (7, [1, 7]), ([1, 7], [1, 7])])
def test_all_ends_are_known(configured, ends):
    model = make_model()
    model.generation_config.eos_token_id = configured
    assert ends_of(model, make_tokenizer()) == ends


def test_any_of_the_models_ends_ends_a_completion():
    model, tokenizer = make_model(), make_tokenizer()
    free = sample(model, tokenizer, PROMPTS, group_size=8, max_new_tokens=6).token_ids
    end = free[0][1]
    model.generation_config.eos_token_id = [1, end]
    sampled = sample(model, tokenizer, PROMPTS, group_size=8, max_new_tokens=6)
    assert any(ids[-1] == end and len(ids) < 6 for ids in sampled.token_ids)
    assert not any(end in ids[:-1] for ids in sampled.token_ids)
    assert [len(row) for row in sampled.entropies] == [len(ids) for ids in sampled.token_ids]


def test_the_chat_template_gets_its_options():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}{{ '=' if think else '+' }}"
    seen = []
    model = make_model()
    generate = model.generate
    model.generate = lambda **inputs: seen.append(tokenizer.decode(inputs["input_ids"][0])) or generate(**inputs)
    for options in (None, {"think": True}):
        prompts = [[{"role": "user", "content": "1"}]]
        sample(model, tokenizer, prompts, group_size=1, max_new_tokens=2, chat_template_kwargs=options)
    assert seen == ["1+", "1="]
