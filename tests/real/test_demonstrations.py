"""LUFFY and UFT on GSM8K's real problems and people's solutions, with a real pretrained model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback

from echorl.models.smollm2 import cache_folder
from echorl.tasks import load_task
from echorl.trl import EchoGRPOTrainer
from tests.trl.tiny import settings

MODEL = cache_folder()
DATA = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"
pytestmark = [
    pytest.mark.skipif(not MODEL.exists(), reason="SmolLM2 is not in the cache: run `make real-model` first"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the GSM8K files are not in ../shared/data"),
]
NUM_PROMPTS = 2
MAX_TOKENS = 48


@pytest.fixture(scope="module")
def problems():
    """The task, and the training rows with the shortest solutions."""
    task = load_task("gsm8k", data=str(DATA), chat=True)
    rows = task.dataset("train", size=400)
    return task, rows.select(sorted(range(400), key=lambda i: len(rows[i]["demonstration"]))[:NUM_PROMPTS])


def log_likelihood(model, tokenizer, rows) -> float:
    """Mean log-probability of the solutions' tokens."""
    total, count = 0.0, 0
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        answer = [*tokenizer(row["demonstration"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor([[*prompt, *answer]])
        with torch.no_grad():
            logp = model.eval()(input_ids=ids).logits.float().log_softmax(-1)[0, len(prompt) - 1 : -1]
        total += float(logp.gather(-1, torch.tensor(answer).unsqueeze(-1)).sum())
        count += len(answer)
    return total / count


@pytest.mark.parametrize(("method", "options"), [("luffy", {}), ("uft", {"beta": 0.0, "hint_weight": 1.0})])
def test_the_demonstrations_become_likelier(tmp_path, problems, method, options):
    task, rows = problems
    args = settings(
        tmp_path,
        method=method,
        method_options=options,
        per_device_train_batch_size=2 * NUM_PROMPTS,
        gradient_accumulation_steps=1,
        num_generations=2,
        max_completion_length=MAX_TOKENS,
        learning_rate=2e-5,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        seed=42,
    )
    trainer = EchoGRPOTrainer(str(MODEL), [task.verifier], args, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    before = log_likelihood(AutoModelForCausalLM.from_pretrained(MODEL), tokenizer, rows)
    trainer.train()
    assert log_likelihood(trainer.model, tokenizer, rows) > before + 0.05
    logged = [line for line in trainer.state.log_history if "reward" in line]
    if method == "luffy":
        assert all(line["method/trace_used"] == 1.0 for line in logged)
        assert all(line["reward"] >= 0.5 for line in logged)  # the traces', at least
    else:
        assert any(line["method/hint_tokens"] > 0 for line in logged)
