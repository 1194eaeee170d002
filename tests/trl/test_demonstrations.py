"""Demonstrations of reasoning models: `<think>` stands once, in the prompt where the chat template writes it there."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from echorl.trl import EchoGRPOTrainer
from echorl.trl.parts.demonstrations import THINK, opening
from echorl.trl.parts.traces import Traces
from tests.trl import tiny
from tests.trl.test_methods import streamed, worked

PLAIN = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
THINKING = PLAIN + "{{ '<think>\\n' }}"
SOLUTION = "1+1=2\n2"


def make_trainer(folder, template, target, method="luffy"):
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = template
    rows = [{"prompt": [{"role": "user", "content": f"{i}+1=?"}], "target": target} for i in range(10)]
    options = {"beta": 0.0} if method == "uft" else {}
    args = tiny.settings(folder, method=method, method_options=options, max_completion_length=32)
    right = lambda completions, **_: [1.0] * len(completions)  # noqa: E731
    return EchoGRPOTrainer(
        tiny.make_model(), [right], args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


@pytest.mark.parametrize("target", [THINK + SOLUTION, [{"role": "assistant", "content": THINK + SOLUTION}]])
def test_the_opening_is_dropped_where_the_template_has_written_it(tmp_path, target):
    trainer = make_trainer(tmp_path, THINKING, target)
    assert opening(trainer) == THINK
    trainer.part.begin([{"prompt": [], "target": target}] * 4)
    text, ids = trainer.part.traces[3]
    assert text == THINK + SOLUTION  # what the verifier reads
    assert trainer._tokenizer.decode(ids, skip_special_tokens=True) == SOLUTION


def test_and_kept_where_it_has_not(tmp_path):
    trainer = make_trainer(tmp_path, PLAIN, THINK + SOLUTION)
    assert opening(trainer) == ""
    trainer.part.begin([{"prompt": [], "target": THINK + SOLUTION}] * 4)
    whole = trainer._tokenizer(THINK + SOLUTION)["input_ids"]
    assert trainer.part.traces[3][1] == [*whole, trainer._tokenizer.eos_token_id]


def test_hints_begin_after_it(tmp_path):
    trainer = make_trainer(tmp_path, THINKING, THINK + SOLUTION, method="uft")
    hints = []
    for step in range(20):
        trainer.state.global_step = step
        trainer.part.begin([{"prompt": [], "target": THINK + SOLUTION}])
        hints.append(trainer._tokenizer.decode(trainer.part.prefixes[0]))
    assert set(hints) <= {"", "1+1=2\n", SOLUTION}
    assert SOLUTION in hints


def test_a_demonstration_that_is_the_opening_alone_gives_no_hint(tmp_path):
    trainer = make_trainer(tmp_path, THINKING, THINK, method="uft")
    trainer.part.begin([{"prompt": [], "target": THINK}])
    assert list(trainer.part.prefixes[0]) == []


def test_streamed_rows_that_do_not_tell_their_columns(tmp_path):
    rows = streamed(worked())
    assert rows.column_names is None
    assert tiny.build(tmp_path, method="luffy", dataset=rows).part.column == "demonstration"


def test_a_reward_model_cannot_be_asked_about_a_demonstration(tmp_path):
    trainer = tiny.build(tmp_path, method="luffy", dataset=worked())
    trainer.reward_funcs[0] = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="the verifier 'some_right' is a reward model, and method='luffy' asks"):
        Traces(trainer)
