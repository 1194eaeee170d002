"""Methods with demonstrations on a vision model (Qwen2.5-VL's class, tiny): prompts are chat messages with an image."""

from __future__ import annotations

import pytest
from transformers import PrinterCallback

from echorl.trl import EchoGRPOTrainer
from tests.trl import tiny, tiny_vision

pytestmark = tiny.needs_trl("1.16")

SOLUTION = "1+1=2\n2+2=4"
ONE_BATCH = dict(max_steps=1, per_device_train_batch_size=16, gradient_accumulation_steps=1)


def right(completions, completion_ids, **_):
    texts = [messages[0]["content"] for messages in completions]
    return [
        float(text.startswith(SOLUTION) or sum(ids) % 3 == 0) for text, ids in zip(texts, completion_ids, strict=True)
    ]


def train(folder, method, **options):
    prompts = [[{"role": "user", "content": f"{i % 10}+1=?"}] for i in range(16)]
    trainer = EchoGRPOTrainer(
        tiny_vision.make_model(),
        [right],
        args=tiny.settings(folder, method=method, method_options=options, echo_coef=0.1, **ONE_BATCH),
        train_dataset=tiny_vision.make_rows(prompt=prompts, demonstration=SOLUTION),
        processing_class=tiny_vision.make_processor(),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return trainer.state.log_history[0]


@pytest.mark.parametrize("method", ["dr_grpo", "luffy"])
def test_a_step_with_images(tmp_path, method):
    logged = train(tmp_path, method)
    assert logged["grad_norm"] > 0
    assert logged["echo/entropy_source/recorder"] == 1.0
    assert logged.get("method/trace_used", 1.0) == 1.0


def test_hints_follow_prompts_with_images(tmp_path):
    """What was seen while sampling prompt, image and hint is what the training forward sees."""
    logged = train(tmp_path, "uft", beta=0.0, low=0.95)
    assert logged["method/hint_tokens"] > 0
    assert logged["echo/token_entropy"] == pytest.approx(logged["entropy"], rel=1e-4)
