"""Demonstrations of reasoning models: `<think>` stands once, in the prompt where the chat template writes it there."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from echorl.trl import EchoGRPOTrainer
from echorl.trl.methods.luffy import TraceHooks
from echorl.trl.sampling.demonstrations import THINK, opening
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


def plan(trainer, rows):
    return trainer.stations.hooks.plan(rows, trainer.context)


@pytest.mark.parametrize("target", [THINK + SOLUTION, [{"role": "assistant", "content": THINK + SOLUTION}]])
def test_the_opening_is_dropped_where_the_template_has_written_it(tmp_path, target):
    trainer = make_trainer(tmp_path, THINKING, target)
    assert opening(trainer.context) == THINK
    text, ids = plan(trainer, [{"prompt": [], "target": target}] * 4).demonstrations[3]
    assert text == THINK + SOLUTION  # what the verifier reads
    assert trainer._tokenizer.decode(ids, skip_special_tokens=True) == SOLUTION


def test_and_kept_where_it_has_not(tmp_path):
    trainer = make_trainer(tmp_path, PLAIN, THINK + SOLUTION)
    assert opening(trainer.context) == ""
    demonstrations = plan(trainer, [{"prompt": [], "target": THINK + SOLUTION}] * 4).demonstrations
    whole = trainer._tokenizer(THINK + SOLUTION)["input_ids"]
    assert demonstrations[3].ids == [*whole, trainer._tokenizer.eos_token_id]


def test_hints_begin_after_it(tmp_path):
    trainer = make_trainer(tmp_path, THINKING, THINK + SOLUTION, method="uft")
    hints = []
    for step in range(20):
        trainer.state.global_step = step
        hints.append(trainer._tokenizer.decode(plan(trainer, [{"prompt": [], "target": THINK + SOLUTION}]).prefixes[0]))
    assert set(hints) <= {"", "1+1=2\n", SOLUTION}
    assert SOLUTION in hints


def test_a_demonstration_that_is_the_opening_alone_gives_no_hint(tmp_path):
    trainer = make_trainer(tmp_path, THINKING, THINK, method="uft")
    assert plan(trainer, [{"prompt": [], "target": THINK}]).prefixes == [[]]


def test_streamed_rows_that_do_not_tell_their_columns(tmp_path):
    rows = streamed(worked())
    assert rows.column_names is None
    assert tiny.build(tmp_path, method="luffy", dataset=rows).stations.hooks.column == "demonstration"


def test_a_reward_model_cannot_be_asked_about_a_demonstration(tmp_path):
    trainer = tiny.build(tmp_path, method="luffy", dataset=worked())
    trainer.reward_funcs[0] = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="the verifier 'some_right' is a reward model, and method='luffy' asks"):
        TraceHooks(trainer.stations.hooks.method, trainer.context, trainer.stations.verifiers)
