"""A model with fewer rows in its vocabulary computes what it did, on the texts that it was made for."""

from __future__ import annotations

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from echorl.models.vocabulary import keep_vocabulary
from tests.tiny import random_model

CORPUS = ["the cat and the cattle were counting caterpillars", "counting 1234 cats, then 12340 more", "a\n\nb\n"] * 3
TEXTS = ["the cattle\n", "counting cats", "12340"]


def make_tokenizer(model=None):
    tokenizer = Tokenizer(model or models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken("<eos>", special=True), AddedToken("<pad>", special=True)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<eos>",
        pad_token="<pad>",
        padding_side="left",
        chat_template="{{ messages[0]['content'] }}",
    )


def make_model(size, tied):
    special = dict(eos_token_id=[0, 300], pad_token_id=1)
    return random_model(LlamaForCausalLM, hidden=16, vocab_size=size, tie_word_embeddings=tied, **special).eval()


def tokens_of(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("tied", [True, False])
def test_tokens_and_logits_stay(tied, tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer), tied)
    before = {text: tokens_of(tokenizer, text) for text in TEXTS}
    ids = {text: torch.tensor([tokenizer(text)["input_ids"]]) for text in TEXTS}
    logits = {text: model(ids[text]).logits.detach() for text in TEXTS}
    ends = tokenizer.convert_ids_to_tokens([0, 300])
    smaller_model, smaller = keep_vocabulary(model, tokenizer, TEXTS)
    smaller_model.save_pretrained(tmp_path)
    smaller.save_pretrained(tmp_path)
    smaller_model, smaller = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert len(smaller) == smaller_model.config.vocab_size < len(tokenizer)
    assert {text: tokens_of(smaller, text) for text in TEXTS} == before
    for text in TEXTS:
        new_ids = torch.tensor([smaller(text)["input_ids"]])
        new_logits = smaller_model(new_ids).logits
        old_id = torch.tensor(tokenizer.convert_tokens_to_ids(smaller.convert_ids_to_tokens(range(len(smaller)))))
        torch.testing.assert_close(new_logits, logits[text][..., old_id], rtol=0, atol=1e-6)
    assert smaller.convert_ids_to_tokens(smaller_model.generation_config.eos_token_id) == ends
    assert (smaller.eos_token, smaller.pad_token, smaller.padding_side) == ("<eos>", "<pad>", "left")
    assert smaller.apply_chat_template([{"content": "hi"}], tokenize=False) == "hi"


def test_any_other_text_can_still_be_written():
    tokenizer = make_tokenizer()
    _, smaller = keep_vocabulary(make_model(len(tokenizer), True), tokenizer, TEXTS)
    text = "Größe 漢字 caterpillars<eos>"
    assert smaller.decode(smaller(text)["input_ids"]) == text


def test_another_kind_of_tokenizer_is_refused():
    words = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    with pytest.raises(ValueError, match="is no byte-level BPE with merges: keep its whole vocabulary"):
        keep_vocabulary(make_model(8, True), tokenizer, ["a"])
