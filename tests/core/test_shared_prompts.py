"""A prompt computed once for its rollouts gives what a forward of each row by itself gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from echorl.core.shared_prompts import SharedPrompts, check_layers, distinct_rows, pack, sharing
from tests.tiny import random_model

VOCABULARY = 40


@pytest.fixture(scope="module")
def model():
    sizes = dict(vocab_size=VOCABULARY, num_attention_heads=4, num_key_value_heads=2)
    return random_model(LlamaForCausalLM, **sizes).double().eval()


def scored(model, input_ids, attention_mask, labels, position_ids=None):
    """Log-probs and entropies of the tokens after the first, 0 where there is no label: as TRL's fused head."""
    logits = model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids).logits[:, :-1]
    log_probs, labels = logits.log_softmax(-1), labels[:, 1:]
    token = log_probs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    outside = labels == -100
    return SimpleNamespace(log_probs=token.masked_fill(outside, 0), entropy=entropy.masked_fill(outside, 0))


def row_by_row(model, input_ids, attention_mask, num_tokens):
    """The same of each row by itself, without padding; a plain loop."""
    result = torch.zeros(2, len(input_ids), num_tokens, dtype=torch.float64)
    for row, (ids, mask) in enumerate(zip(input_ids, attention_mask.bool(), strict=True)):
        count = int(mask[-num_tokens:].sum())
        if count:
            labels = ids[mask].clone()
            labels[:-count] = -100
            out = scored(model, ids[mask].unsqueeze(0), None, labels.unsqueeze(0))
            place = mask[-num_tokens:].nonzero().flatten()
            result[:, row] = result[:, row].index_put(
                (torch.arange(2).unsqueeze(1), place.unsqueeze(0)),
                torch.stack([out.log_probs[0, -count:], out.entropy[0, -count:]]),
            )
    return result


def rows(prompts, completions, shuffle=None):
    """Prompts padded on the left, completions on the right: ids and mask."""
    width, length = max(map(len, prompts)), max(map(len, completions))
    ids = [[0] * (width - len(p)) + p + c + [0] * (length - len(c)) for p, c in zip(prompts, completions, strict=True)]
    mask = [
        [0] * (width - len(p)) + [1] * (len(p) + len(c)) + [0] * (length - len(c))
        for p, c in zip(prompts, completions, strict=True)
    ]
    order = list(range(len(ids))) if shuffle is None else shuffle
    return torch.tensor(ids)[order], torch.tensor(mask)[order], length


ONE, TWO = [5, 6, 7, 8, 9], [11, 12]
CASES = {
    "two groups": rows([ONE] * 3 + [TWO] * 2, [[20, 21, 22, 1], [23, 1], [24], [25, 26], [27, 28, 29, 1]]),
    "shuffled": rows(
        [ONE] * 3 + [TWO] * 2, [[20, 21, 22, 1], [23, 1], [24], [25, 26], [27, 28, 29, 1]], [3, 0, 4, 2, 1]
    ),
    "all alike": rows([ONE] * 4, [[20, 21]] * 4),
    "all different": rows([ONE, TWO, [3]], [[20, 21], [22], [23, 24, 1]]),
    "a prompt of one token": rows([[3]] * 3, [[20, 21], [22], [23, 24, 1]]),
    "a rollout excluded": rows([ONE] * 3, [[20, 21, 1], [], [22, 1]]),
    "a prompt that begins another": rows([ONE, ONE[:3], ONE[:3]], [[20, 21], [8, 9], [22, 1]]),
}


@pytest.mark.parametrize("name", CASES)
def test_log_probs_entropies_and_gradients_are_those_of_rows_by_themselves(model, name):
    ids, mask, num_tokens = CASES[name]
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-num_tokens] = -100
    expected = row_by_row(model, ids, mask, num_tokens)
    out = SharedPrompts(lambda **kwargs: scored(model, **kwargs), num_tokens)(ids, mask, labels)
    result = torch.stack([out.log_probs, out.entropy])
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    factors = torch.randn(result.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = [
        torch.autograd.grad((factors * values).sum(), list(model.parameters())) for values in (result, expected)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-6)  # norms compute in float32


def test_a_token_outside_the_mask_within_a_completion_is_seen_by_nobody(model):
    ids, mask, num_tokens = rows([ONE] * 2, [[20, 21, 22, 23], [24, 25, 26, 1]])
    mask[0, -3] = 0
    out = SharedPrompts(lambda **kwargs: scored(model, **kwargs), num_tokens)(ids, mask, ids)
    expected = row_by_row(model, ids, mask, num_tokens)
    torch.testing.assert_close(torch.stack([out.log_probs, out.entropy]), expected, rtol=0, atol=1e-12)


def test_a_prompt_is_computed_once():
    ids, mask, num_tokens = CASES["shuffled"]
    packed = pack(ids, mask, num_tokens)
    # ONE without its last token, then 3 rollouts of 4 + 2 + 1 tokens, each behind ONE's last token.
    assert packed.input_ids.shape == (2, 4 + 3 + 7)
    assert sorted(packed.input_ids[:, 0].tolist()) == [5, 11]
    assert (packed.labels != -100).sum() == mask[:, -num_tokens:].sum() == (packed.place >= 0).sum()


def test_rows_are_alike_whatever_stands_in_their_padding():
    ids, mask = torch.tensor([[9, 5], [8, 5], [9, 5]]), torch.tensor([[0, 1], [0, 1], [1, 1]])
    first, like = distinct_rows(ids, mask)
    assert first.tolist() in ([0, 2], [2, 0])
    assert like[0] == like[1] != like[2]


def test_generate_samples_the_same_tokens(model):
    prompts = [ONE] * 3 + [TWO] * 2 + [[3]]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    options = dict(do_sample=True, max_new_tokens=9, min_new_tokens=9, top_k=0)
    forward, seen = model.forward, []

    def count(*args, **kwargs):
        seen.append(kwargs["input_ids"].numel() if "input_ids" in kwargs else args[0].numel())
        return forward(*args, **kwargs)

    torch.manual_seed(0)
    expected = model.generate(input_ids=ids, attention_mask=mask, **options)
    torch.manual_seed(0)
    model.forward = count
    try:
        with sharing(model):
            result = model.generate(input_ids=ids, attention_mask=mask, **options)
    finally:
        del model.forward
    assert torch.equal(result, expected)
    assert seen[:2] == [3 * (width - 1), 6]  # 3 prompts without their last token; then that of the 6 rollouts
    assert "generate" not in vars(model)
    patched = model.generate = model.generate  # as by a library that speeds it up
    with sharing(model):
        pass
    assert vars(model).pop("generate") is patched


HYBRIDS = {
    "lfm2": ({"full_attn_idxs": [1]}, "conv"),
    "qwen3_next": ({"num_experts": 0, "layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
    "qwen3_5_text": ({"layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
    "falcon_h1": ({}, "hybrid"),
}


def config_of(kind, **options):
    return AutoConfig.for_model(kind, num_hidden_layers=2, hidden_size=96, **options)


@pytest.mark.parametrize("kind", HYBRIDS)
def test_layers_that_mix_the_rollouts_are_refused(kind):
    options, layers = HYBRIDS[kind]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(kind, **options))
    with pytest.raises(ValueError, match=f"share_prompts=True cannot be combined with the {layers} layers of {kind}"):
        check_layers(model)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "gemma3_text", "gpt2"])
def test_layers_of_attention_alone_are_accepted(kind):
    with torch.device("meta"):
        check_layers(AutoModelForCausalLM.from_config(config_of(kind)))
