"""Chat messages need a chat template: refused when the trainer is made, not by transformers in the first step."""

from __future__ import annotations

import pytest
from datasets import Dataset

from tests.trl import tiny
from tests.trl.tiny import all_right, build, make_dataset, make_tokenizer

CHAT = Dataset.from_dict({"prompt": [[{"role": "user", "content": f"{i}+1=?\n"}] for i in range(8)]})
REFUSED = "no chat template, but the prompts are chat messages: give them as text .* chat_template.jinja"


@pytest.mark.parametrize("coef", [0.0, 0.1])
def test_chat_messages_without_a_template(tmp_path, coef):
    with pytest.raises(ValueError, match=f"the tokenizer has {REFUSED}"):
        build(tmp_path, all_right, dataset=CHAT, echo_coef=coef)


def test_streamed(tmp_path):
    with pytest.raises(ValueError, match=REFUSED):
        build(tmp_path, all_right, dataset=CHAT.to_iterable_dataset())


@pytest.mark.parametrize("several", [False, True])
def test_of_an_evaluation(tmp_path, several):
    rows = {"text": make_dataset(4), "chat": CHAT} if several else CHAT
    with pytest.raises(ValueError, match=REFUSED):
        build(tmp_path, all_right, eval_dataset=rows, eval_strategy="steps", eval_steps=1)


def with_template():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return tokenizer


def test_with_a_template_they_are_rendered(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "make_tokenizer", with_template)
    trainer = build(tmp_path, all_right, dataset=CHAT, max_steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["echo/clips/all_success"] > 0


def test_text_needs_none(tmp_path):
    assert build(tmp_path, all_right).processing_class.chat_template is None


def test_a_rollout_function_renders_its_prompts_itself(tmp_path):
    build(tmp_path, all_right, dataset=CHAT, rollout_func=lambda prompts, trainer: {})
