"""Runs of `swift rlhf` in this process, through ms-swift's own `rlhf_main`, on the policy that comes with echorl."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from swift.pipelines.train.rlhf import rlhf_main
from swift.rewards import ORM, orms
from swift.rlhf_trainers import GRPOTrainer
from swift.template import TemplateMeta, register_template
from swift.trainers.trainer_factory import TrainerFactory

from echorl.models import path
from echorl.swift import use_echo
from echorl.swift.trainer import EchoTrainer

TEMPERATURE = 0.8
FLAGS = dict(
    rlhf_type="grpo", model_type="llama", template="plain_lines", use_hf="true", torch_dtype="float32",
    tuner_type="full", bf16="false", fp16="false", attn_impl="sdpa", use_vllm="false", beta=0,
    dataset_num_proc=1, dataloader_num_workers=0, split_dataset_ratio=0, gradient_checkpointing="false",
    num_generations=4, per_device_train_batch_size=4, gradient_accumulation_steps=2, max_completion_length=16,
    temperature=TEMPERATURE, max_steps=1, logging_steps=1, max_grad_norm=1e9, save_strategy="no", report_to="none",
    use_cpu="true", log_completions="true", add_version="false", check_model="false",
)  # fmt: skip


class AllRight(ORM):
    def __call__(self, completions, **columns):
        return [1.0] * len(completions)


class SomeRight(ORM):
    """Of every two groups of four rollouts the first is all right, and of the second every other rollout."""

    def __call__(self, completions, **columns):
        return [float(row % 8 < 4 or row % 2) for row in range(len(completions))]


orms.update(all_right=AllRight, some_right=SomeRight)
register_template(
    TemplateMeta("plain_lines", prefix=[], prompt=["{{QUERY}}\n"], chat_sep=[], suffix=["<eos>"]), exist_ok=True
)


class Watch:
    """Keeps the trainer of a run, its first model, generation batches, forwards, and the gradients of its steps."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.first_model = deepcopy(self.model)
        self.forwards: list[int] = []
        self.model.register_forward_pre_hook(lambda *_: self.forwards.append(1))
        self.batches: list[list[dict[str, Any]]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        Watch.trainer = self

    def _postprocess_batch(self, samples, batch_encoded_inputs):
        super()._postprocess_batch(samples, batch_encoded_inputs)
        self.batches.append(batch_encoded_inputs)

    def training_step(self, model, *args, **kwargs):
        loss = super().training_step(model, *args, **kwargs)
        if self.accelerator.sync_gradients:
            unwrapped = self.accelerator.unwrap_model(model)
            named = unwrapped.named_parameters()
            self.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})
        return loss


class WatchedPlain(Watch, GRPOTrainer):
    pass


class WatchedEcho(Watch, EchoTrainer):
    pass


def run(folder: Path, reward: str, echo: dict[str, Any] | None, **flags: Any) -> Any:
    """Train and return the trainer: with EchoRL by the arguments of `use_echo`, or plain where these are None."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "sums.jsonl"
    if not data.exists():
        rows = [{"messages": [{"role": "user", "content": f"{i} + {i + 3} ="}], "solution": "?"} for i in range(10, 74)]
        data.write_text("\n".join(map(json.dumps, rows)))
    if echo is not None:
        use_echo(**echo)
    name = "WatchedPlain" if echo is None else "WatchedEcho"
    TrainerFactory.TRAINER_MAPPING["grpo"] = f"{__name__}.{name}"
    values = (
        FLAGS | dict(model=path("quickstart"), dataset=data, output_dir=folder / "out", reward_funcs=reward) | flags
    )
    rlhf_main([argument for name, value in values.items() for argument in (f"--{name}", str(value))])
    return Watch.trainer


def weights(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.accelerator.unwrap_model(trainer.model).named_parameters()}


def norm(values: dict[str, torch.Tensor]) -> float:
    return float(sum((value.double() ** 2).sum() for value in values.values()) ** 0.5)
