"""What EchoRL (and TRL's generation buffer) must remember so that a resumed run equals one that was never stopped."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging

from echorl.support.files import replacing
from echorl.trl.resume import ResumeSettings, other_method, resume_plan

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

logger = logging.get_logger(__name__)


def save(trainer: EchoGRPOTrainer, trial: Any) -> None:
    """Write this process's state into the checkpoint that the trainer is about to write.

    Form first, so that a checkpoint with a trainer state always has it too; and in one move, so that a kill leaves
    no half of it.
    """
    folder = Path(trainer._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, trainer.accelerator.process_index)
    with replacing(path) as scratch:
        torch.save(_state(trainer), scratch)


def load(trainer: EchoGRPOTrainer, folder: str) -> None:
    """Restore what `save` wrote; `resume_plan` says how much of it fits the settings that the run has now.

    A checkpoint without it (plain GRPO's) starts the ledger and the quantile afresh. All but the batch in use is the
    same on every process, so that any number of them can resume.

    Raises:
        ValueError: the checkpoint has the memory of another method.
    """
    _forward_sampler(trainer)
    state = _read(trainer, Path(folder))
    if state is None:
        return
    _restore_batch(trainer, state, folder)
    trainer._metrics["train"].update(state["metrics"])
    trainer.statistics.load_state_dict(state["statistics"])
    trainer.miner.load_state_dict(state["miner"])
    trainer.last_dump = state["last_dump"]
    trainer.warned = set(state["warned"])
    trainer.part.load_state_dict(state.get("part", {}))


def _read(trainer: EchoGRPOTrainer, folder: Path) -> dict[str, Any] | None:
    """This process's state, else (of fewer processes) the first one's; None in a checkpoint of plain GRPO."""
    paths = [_path(folder, process) for process in (trainer.accelerator.process_index, 0)]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return None
    device = trainer.accelerator.device
    return torch.load(path, map_location="cpu" if device.type == "cpu" else device, weights_only=True)


def _restore_batch(trainer: EchoGRPOTrainer, state: dict[str, Any], folder: str) -> None:
    """Go on with the generation batch in use, or make TRL begin a new one, as `resume_plan` says."""
    method = trainer.args.method
    if state.get("part") and state.get("method", method) != method:  # earlier versions stored it apart
        raise ValueError(f"cannot resume from {folder}: {other_method(state['method'], method)}")
    old = ResumeSettings(**state["settings"]) if "settings" in state else None
    plan = resume_plan(old, resume_settings(trainer), state["step"])
    if plan.action == "refuse":
        raise ValueError(f"cannot resume from {folder}: {plan.sentence}")
    within = state["buffer"] is not None
    trainer._step = plan.step
    if plan.action == "go_on" and within:
        trainer._buffered_inputs = state["buffer"]
        trainer.receipt.load_state_dict(state["receipt"])
    elif within and trainer.accelerator.is_main_process:
        logger.warning(f"Resuming from {folder}: {plan.sentence}")


def resume_settings(trainer: EchoGRPOTrainer) -> ResumeSettings:
    """The settings of this run that decide how it can be resumed."""
    args = trainer.args
    return ResumeSettings(
        per_device_train_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        steps_per_generation=args.steps_per_generation,
        num_iterations=args.num_iterations,
        num_processes=trainer.accelerator.num_processes,
        method=args.method,
        method_hash=trainer.method.source_hash,
        has_memory=bool(trainer.part.state_dict()),
        echo_coef=args.echo_coef,
        echo_mine_only=args.echo_mine_only,
        beta=args.beta,
        vllm_importance_sampling_correction=args.use_vllm and args.vllm_importance_sampling_correction,
    )


def load_weights(trainer: EchoGRPOTrainer, folder: str) -> None:
    """Load a checkpoint's weights where the Trainer's own loading has passed over them.

    transformers saves some models (Qwen2.5-VL) under older names of their weights. `from_pretrained` translates them;
    the Trainer looks for the model's own names, skips what it doesn't find, and would go on from the first weights.
    """
    model = trainer.model
    if trainer.is_fsdp_enabled or not isinstance(model, PreTrainedModel):  # FSDP keeps its own names, PEFT an adapter
        return
    if _saved_names(Path(folder)) <= model.state_dict().keys():
        return
    model.load_state_dict(type(model).from_pretrained(folder).state_dict())


def _saved_names(folder: Path) -> set[str]:
    """Of the weights in the checkpoint's safetensors."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if index.exists():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    with safe_open(folder / SAFE_WEIGHTS_NAME, "pt") as file:
        return set(file.keys())


def _state(trainer: EchoGRPOTrainer) -> dict[str, Any]:
    settings = resume_settings(trainer)
    within = trainer._step % settings.micro_steps != 0
    return {
        "step": trainer._step,
        "settings": asdict(settings),
        # TRL would generate anew after a resume and lose its place; so the batch in use goes along.
        "buffer": trainer._buffered_inputs if within else None,
        "num_processes": settings.num_processes,
        "receipt": trainer.receipt.state_dict(),
        "metrics": dict(trainer._metrics["train"]),  # of the logging interval that is not over yet
        "statistics": trainer.statistics.state_dict(),
        "miner": trainer.miner.state_dict(),
        "last_dump": trainer.last_dump,
        "warned": sorted(trainer.warned),
        "part": trainer.part.state_dict(),
    }


def _forward_sampler(trainer: EchoGRPOTrainer) -> None:
    """Draw the permutations of the epochs already done, else TRL's sampler starts again with the first one.

    Done are those that the Trainer passes over: of as many optimiser steps as an epoch has with the batching of now.
    """
    sampler = getattr(trainer, "train_sampler", None)
    generator = getattr(sampler, "generator", None)
    if generator is None or not trainer.shuffle_dataset:
        return
    micro_steps = len(sampler) // trainer.args.generation_batch_size
    updates = max(1, math.ceil(micro_steps / trainer.args.gradient_accumulation_steps))
    for _ in range(trainer.state.global_step // updates):
        torch.randperm(sampler.num_samples, generator=generator)


def _path(folder: Path, process: int) -> Path:
    return folder / f"echorl_state_{process}.pt"
