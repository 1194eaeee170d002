"""What a user's model brings: a chat template, a BPE vocabulary of 49,152, bf16, LoRA. SmolLM2-135M, on a CPU."""

from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from pyarrow import parquet as pq
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
from trl import GRPOTrainer

from echorl import StepDelimiters, segment_steps
from echorl.models.smollm2 import cache_folder
from echorl.trl import EchoGRPOTrainer
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.tiny import Gradients, all_right, first, settings

MODEL = cache_folder()
pytestmark = pytest.mark.skipif(not MODEL.exists(), reason="SmolLM2 is not in the cache: run `make real-model` first")

QUESTION = "What is {} + {}? Work it out step by step, one step a line."
CHAT = [[{"role": "user", "content": QUESTION.format(i, i + 3)}] for i in range(4)]
TEXT = [QUESTION.format(i, i + 3) + "\n" for i in range(4)]


def half_right(completions, **_):
    return [float(i % 4 < 2 or i >= 4) for i in range(len(completions))]


def build(folder, reward=all_right, *, echo=True, prompts=CHAT, callbacks=(), **changes):
    """Two groups of four rollouts of up to 24 tokens, in two micro-batches."""
    own = {key: changes.pop(key) for key in ("peft_config", "eval_dataset") if key in changes}
    model = changes.pop("model", str(MODEL))
    sizes = dict(per_device_train_batch_size=4, max_completion_length=24, max_steps=1, learning_rate=1e-5, seed=42)
    trainer = (EchoGRPOTrainer if echo else GRPOTrainer)(
        model,
        [reward],
        settings(folder, echo, **{**sizes, **changes}),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        callbacks=list(callbacks),
        **own,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def test_the_papers_problem_and_its_cure(tmp_path):
    """All groups right: GRPO's gradient is exactly zero, EchoRL's that of the clips' NLL, written out by hand."""
    base = Gradients()
    build(tmp_path, echo=False, callbacks=[base]).train()
    assert all((gradient == 0).all() for gradient in base.steps[0].values())

    double = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64)  # float32 alone differs by 5e-5 here
    trainer = build(tmp_path, model=double, optim="sgd", echo_coef=0.5)
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64)
    logp, entropy = logps_and_entropies(model, batch)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    loss = 0.0
    for rows in (range(4), range(4, 8)):
        means = {(r, k): entropy[r][steps[r] == k].mean().item() for r in rows for k in range(int(steps[r].max()) + 1)}
        row, step = max(means, key=means.get)
        clip = (steps[row] >= 0) & (steps[row] <= step)
        loss = loss - 0.5 * logp[row][clip].sum() / clip.sum() / 2
    assert closest(gradient_of(model, loss), gradient) < 1e-5


def test_recorder_and_old_pass_agree_and_choose_the_same_clips(tmp_path, monkeypatch):
    from tests.trl.test_sources import entropies_of

    found = []
    for changes in ({}, {"num_iterations": 2}):
        found.append(entropies_of(build(tmp_path, half_right, temperature=0.8, **changes), monkeypatch))
    (recorded, source, _, batch), (scored, other, _, again) = found
    assert (source, other) == ("recorder", "old_pass")
    assert torch.equal(batch["completion_ids"], again["completion_ids"])
    mask = batch["completion_mask"].bool()
    assert (recorded - scored)[mask].abs().max() < 1e-4
    assert torch.equal(batch["echo_weights"], again["echo_weights"])


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": TEXT},
        {"bf16": True},
        {"gradient_checkpointing": True},
        {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4, "evaluated": True},
    ],
    ids=["text-prompts", "bf16", "gradient-checkpointing", "evaluation"],
)
def test_what_users_run(tmp_path, changes):
    changes = dict(changes)
    if changes.pop("evaluated", False):
        changes["eval_dataset"] = Dataset.from_dict({"prompt": CHAT[:1]})
    trainer = build(tmp_path, half_right, **changes)
    trainer.train()
    assert first(trainer, "entropy_source/recorder") == 1.0
    assert first(trainer, "clips/all_success") == first(trainer, "clips/mixed") == 1.0


def test_lora(tmp_path):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    trainer = build(tmp_path, half_right, peft_config=lora, beta=0.04, learning_rate=1e-3)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.train()
    assert any(not torch.equal(before[n], p) for n, p in trainer.model.named_parameters() if n in before)
    assert first(trainer, "clips/mixed") == 1.0


def test_a_completion_ends_with_the_chat_templates_end_of_turn(tmp_path):
    trainer = build(tmp_path)
    assert trainer._tokenizer.eos_token == "<|im_end|>"
    assert bool(trainer.stations.miner.delimiters.blank[trainer._tokenizer.eos_token_id])


def test_its_answers_are_cut_at_every_newline_token():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    ids = [i for i in range(len(tokenizer)) if "\n" in tokenizer.decode([i])]
    assert delimiters.newline.nonzero().flatten().tolist() == ids
    assert len(ids) > 100
    text = "First, add 2 and 3.\nThat is 5.\n\n  So the answer is:\n5<|im_end|>"
    tokens = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    steps = segment_steps(tokens, torch.ones_like(tokens), delimiters)
    pieces = [tokenizer.decode(tokens[0][steps[0] == k]) for k in range(int(steps.max()) + 1)]
    assert "".join(pieces) == text
    assert [piece.strip() for piece in pieces] == [
        "First, add 2 and 3.", "That is 5.", "So the answer is:", "5<|im_end|>",
    ]  # fmt: skip


def test_saved_resumed_and_loaded_by_plain_transformers(tmp_path):
    changes = dict(max_steps=2, save_strategy="steps", save_steps=1, max_completion_length=8, echo_coef=0.1)
    whole = build(tmp_path / "run", half_right, **changes)
    whole.train()
    resumed = build(tmp_path / "run", half_right, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    weights = dict(resumed.model.named_parameters())
    assert all(torch.equal(p, weights[n]) for n, p in whole.model.named_parameters())

    resumed.save_model(str(tmp_path / "out"))
    assert "echo" not in json.dumps(json.loads((tmp_path / "out" / "config.json").read_text()))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    inputs = tokenizer.apply_chat_template(CHAT[0], add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert model.generate(**inputs, max_new_tokens=4, do_sample=False).shape[1] == inputs["input_ids"].shape[1] + 4
    assert all(torch.equal(p.cpu(), weights[n]) for n, p in model.named_parameters())


def test_dumps_of_chat_rollouts_hold_the_text_that_their_tokens_spell(tmp_path):
    build(tmp_path, echo_rollouts_every=1).train()
    rows = pq.read_table(tmp_path / "rollouts").to_pylist()
    assert len(rows) == 8
    for row in rows:
        assert "".join(row["tokens"]).replace("<|im_end|>", "") == row["completion"]
