"""Entropies of given responses: alike in any batch, with any head, and aligned with the response's tokens."""

from __future__ import annotations

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from echorl.core.entropy import logp_and_entropy
from echorl.lab.logs.layouts import Rollout
from echorl.lab.mine.plan import Reading
from echorl.lab.mine.scorer import Scorer, Tokens, batches, tokenize
from echorl.models.loading import load_policy
from tests import tiny

RESPONSES = [Tokens([5, 6], [7, 8, 3, 9]), Tokens([5], [8]), Tokens([7] * 9, [9, 3] * 6), Tokens([], [6, 7, 8])]


def one_by_one(model, tokens, temperature=1.0):
    logits = model(torch.tensor([tokens.prompt + tokens.response])).logits[0, len(tokens.prompt) - 1 : -1]
    return [
        values.detach() for values in logp_and_entropy(logits, torch.tensor(tokens.response), temperature=temperature)
    ]


def capped_model():
    torch.manual_seed(0)
    sizes = dict(vocab_size=24, hidden_size=16, intermediate_size=32, num_hidden_layers=1, head_dim=8)
    config = Gemma2Config(
        **sizes, num_attention_heads=2, num_key_value_heads=1, initializer_range=1.0, final_logit_softcapping=2.0
    )
    return Gemma2ForCausalLM(config)


@pytest.mark.parametrize("tokens_at_once", [1, 16, 1000])
@pytest.mark.parametrize("capped", [False, True])
def test_scores_are_those_of_single_forwards(model, tokens_at_once, capped):
    policy = capped_model().eval() if capped else load_policy(model)[0].eval()
    scorer = Scorer(policy, temperature=0.7, tokens_at_once=tokens_at_once)
    assert scorer._head_is_all is not capped  # capped logits are more than the head's product
    found = scorer.scores(RESPONSES)
    for scores, tokens in zip(found[:3], RESPONSES, strict=False):
        for values, expected in zip(scores, one_by_one(policy, tokens, 0.7), strict=True):
            torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
    for values in found[3]:  # nothing stands before its first token
        assert values.isnan().tolist() == [True, False, False]
    for scores, short, tokens in zip(found, scorer.scores(RESPONSES, max_length=6), RESPONSES, strict=True):
        for values, expected in zip(short, scores, strict=True):  # a rollout that is too long has no scores
            fits = len(tokens) <= 6
            torch.testing.assert_close(
                values, expected if fits else values * torch.nan, rtol=0, atol=1e-5 * fits, equal_nan=True
            )


def test_no_rollouts(model):
    assert Scorer(load_policy(model)[0]).scores([]) == []


def test_batches_hold_every_row_once_within_the_limit():
    lengths = [3, 50, 7, 7, 1, 0, 12, 3]
    found = list(batches(lengths, 14))
    assert sorted(row for batch in found for row in batch) == [0, 1, 2, 3, 4, 6, 7]
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 14


def rollout(prompt, response):
    return Rollout(prompt, response, 1.0, "g", ("a", 1))


def test_prompt_and_response_are_tokenised_apart_and_the_end_follows():
    tokenizer = tiny.make_tokenizer()
    # Together "\n" and "\n" would be the token "\n\n".
    (found,) = tokenize([rollout("1\n", "\n2")], tokenizer, Reading())
    assert tokenizer.convert_ids_to_tokens(found.prompt) == ["1", "\n"]
    assert tokenizer.convert_ids_to_tokens(found.response) == ["\n", "2", "<eos>"]
    (found,) = tokenize([rollout("1\n", "2<eos>")], tokenizer, Reading())
    assert tokenizer.convert_ids_to_tokens(found.response) == ["2", "<eos>"]
    (found,) = tokenize([rollout("1\n", "2")], tokenizer, Reading(end=False))
    assert tokenizer.convert_ids_to_tokens(found.response) == ["2"]


def test_messages_take_the_chat_template():
    tokenizer = tiny.make_tokenizer()
    messages = [{"role": "user", "content": "1+1"}]
    with pytest.raises(ValueError, match="no chat template"):
        tokenize([rollout(messages, "2")], tokenizer, Reading())
    tokenizer.chat_template = (
        "{% for m in messages %}a{{ m.content }}{% endfor %}{% if add_generation_prompt %}b{% endif %}"
    )
    for prompt, reading in ((messages, Reading()), ("1+1", Reading(chat=True))):
        (found,) = tokenize([rollout(prompt, "2")], tokenizer, reading)
        assert tokenizer.decode(found.prompt) == "a1+1b"
