"""A short run of a trainer on the tiny model and a tiny data set. No network, seconds on a CPU."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import pytest
from datasets import Dataset
from packaging.version import Version
from transformers import PrinterCallback, Qwen2ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer
from echorl.trl.versions import installed_trl
from tests.tiny import make_tokenizer, random_model


def needs_trl(oldest: str) -> pytest.MarkDecorator:
    """Return the mark of tests of what EchoRL refuses with an older TRL (see test_older_trl.py)."""
    return pytest.mark.skipif(Version(installed_trl()) < Version(oldest), reason=f"needs TRL {oldest}")


def make_model(seed: int = 0, dropout: float = 0.0, hidden: int = 32) -> Qwen2ForCausalLM:
    model = random_model(seed=seed, hidden=hidden, tie_word_embeddings=True, attention_dropout=dropout)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 1, 0
    return model


def make_dataset(size: int = 32) -> Dataset:
    return Dataset.from_dict(
        {"prompt": [f"{i % 10}+{(i * 7) % 10}=?\n" for i in range(size)], "number": list(range(size))}
    )


def all_right(completions, **_):
    return [1.0] * len(completions)


def some_right(completion_ids, **_):
    """Right or wrong by the tokens sampled: mixed groups, and by chance some of the other kinds."""
    return [float(sum(ids) % 3 == 0) for ids in completion_ids]


class Gradients(TrainerCallback):
    """Keeps the gradients that every optimiser step sees."""

    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        named = model.named_parameters()
        self.steps.append({n.removeprefix("module."): p.grad.clone() for n, p in named if p.grad is not None})


def settings(output_dir, echo: bool = True, **changes):
    values = dict(
        output_dir=str(output_dir),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        num_generations=4,
        max_completion_length=16,
        max_steps=2,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        learning_rate=1e-3,
        max_grad_norm=0.0,
        seed=1,
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )
    return (EchoGRPOConfig if echo else GRPOConfig)(**{**values, **changes})


def build(output_dir, reward=some_right, *, echo: bool = True, cls=None, model=None, dataset=None, **changes):
    """A trainer on the tiny model; `changes` go to its config, except what the trainer itself takes."""
    names = ("peft_config", "rollout_func", "callbacks", "eval_dataset", "tools", "processing_class")
    own = {"processing_class": make_tokenizer(), **{k: changes.pop(k) for k in names if k in changes}}
    trainer = (cls or (EchoGRPOTrainer if echo else GRPOTrainer))(
        make_model() if model is None else model,
        reward if isinstance(reward, list) else [reward],
        args=settings(output_dir, echo, **changes),
        train_dataset=make_dataset() if dataset is None else dataset,
        **own,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def run(output_dir, reward=some_right, **changes):
    """Train; returns the trainer, the gradients of every step, the logged losses and the final weights."""
    gradients = Gradients()
    trainer = build(output_dir, reward, callbacks=[gradients, *changes.pop("callbacks", [])], **changes)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    weights = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    return trainer, gradients.steps, losses, weights


def first(trainer, name):
    """The metric `echo/NAME` in the first line of the log."""
    return trainer.state.log_history[0][f"echo/{name}"]


def norm(tensors: dict) -> float:
    return float(sum(t.double().square().sum() for t in tensors.values()) ** 0.5)
