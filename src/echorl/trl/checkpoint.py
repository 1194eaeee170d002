"""State of EchoRL and of TRL's generation buffer in a checkpoint: a resumed run equals one that was never stopped."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, logging

from echorl.support.files import replacing
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks
from echorl.trl.pipeline import Stations
from echorl.trl.resume import ResumeSettings, resume_plan

logger = logging.get_logger(__name__)


class Stateful(Protocol):
    """An object with a state beyond a generation batch, the same on every process."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Position:
    """The place of a run within its generation batches.

    Attributes:
        step: TRL's count of micro-steps.
        buffer: the micro-batches of the generation batch in use; None between batches.
        receipt: the state of its delivery receipt.
    """

    step: int
    buffer: list[dict[str, Any]] | None
    receipt: dict[str, Any]


def save(folder: Path, step: int, buffer: list[dict[str, Any]] | None, stations: Stations, context: Context) -> None:
    """Write this process's state into the checkpoint that the trainer is about to write.

    It is written before the trainer's files, so that a checkpoint with a trainer state always has it, and in one move,
    so that a kill leaves no partial file. The batch in use, `buffer`, is part of it: TRL would sample another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = resume_settings(context, stations.hooks)
    in_use = buffer if step % settings.micro_steps else None
    position = Position(step, in_use, stations.echo.receipt.state_dict())
    state = {name: station.state_dict() for name, station in _stateful(stations, context).items()}
    with replacing(_path(folder, context.comm.rank)) as scratch:
        torch.save({"position": vars(position), "settings": asdict(settings), **state}, scratch)


def load(folder: Path, stations: Stations, context: Context) -> Position | None:
    """Restore what `save` wrote, and return the position to begin at; None for a checkpoint of plain GRPO.

    Everything but the batch in use is the same on every process, so that any number of processes can resume.

    Raises:
        ValueError: the checkpoint has the state of another method, or of an edited one.
    """
    paths = [_path(folder, rank) for rank in (context.comm.rank, 0)]  # written by fewer processes: that of the first
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        return None
    device = context.comm.device
    state = torch.load(path, map_location="cpu" if device.type == "cpu" else device, weights_only=True)
    position, settings = Position(**state["position"]), ResumeSettings(**state["settings"])
    plan = resume_plan(settings, resume_settings(context, stations.hooks), position.step)
    if plan.action == "refuse":
        raise ValueError(f"cannot resume from {folder}: {plan.sentence}")
    for name, station in _stateful(stations, context).items():
        station.load_state_dict(state[name])
    if plan.action == "new_batch":
        if position.buffer is not None and context.log.shows_warnings:
            logger.warning(f"Resuming from {folder}: {plan.sentence}")
        return Position(step=plan.step, buffer=None, receipt={})
    if position.buffer is not None:
        stations.echo.receipt.load_state_dict(position.receipt)
    return position


def _stateful(stations: Stations, context: Context) -> dict[str, Stateful]:
    return {"log": context.log, **{name: getattr(stations, name) for name in ("statistics", "hooks", "miner", "dump")}}


def resume_settings(context: Context, hooks: MethodHooks) -> ResumeSettings:
    """Return the settings of this run that decide how it can be resumed."""
    args = context.args
    return ResumeSettings(
        per_device_train_batch_size=args.per_device_train_batch_size,
        gradient_accumulation_steps=args.gradient_accumulation_steps,
        steps_per_generation=args.steps_per_generation,
        num_iterations=args.num_iterations,
        num_processes=context.comm.num_ranks,
        method=args.method,
        method_hash=hooks.method.source_hash,
        method_options=args.parsed_method_options(),
        has_memory=bool(hooks.state_dict()),
        echo_coef=args.echo_coef,
        echo_mine_only=args.echo_mine_only,
        beta=args.beta,
        vllm_importance_sampling_correction=args.use_vllm and args.vllm_importance_sampling_correction,
    )


def load_weights(model: Any, folder: str) -> None:
    """Load a checkpoint's weights where the Trainer's own loading has skipped them.

    transformers saves some models (Qwen2.5-VL) under older names of their weights. `from_pretrained` translates them;
    the Trainer looks for the model's own names, skips the others, and would go on from the initial weights.
    """
    if not isinstance(model, PreTrainedModel):  # PEFT, which loads an adapter
        return
    if _saved_names(Path(folder)) <= model.state_dict().keys():
        return
    model.load_state_dict(type(model).from_pretrained(folder).state_dict())


def _saved_names(folder: Path) -> set[str]:
    """Return the names of the weights in the checkpoint's safetensors."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if index.exists():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    with safe_open(folder / SAFE_WEIGHTS_NAME, "pt") as file:
        return set(file.keys())


def forward_sampler(sampler: Any, context: Context) -> None:
    """Draw the permutations of the finished epochs, since TRL's sampler would start again with the first one.

    An epoch has as many optimiser steps as the current batching gives it, as in the Trainer's own count.
    """
    generator = getattr(sampler, "generator", None)
    if generator is None or not context.args.shuffle_dataset:
        return
    micro_steps = len(sampler) // context.args.generation_batch_size
    updates = max(1, math.ceil(micro_steps / context.args.gradient_accumulation_steps))
    for _ in range(context.step // updates):
        torch.randperm(sampler.num_samples, generator=generator)


def _path(folder: Path, process: int) -> Path:
    return folder / f"echorl_state_{process}.pt"
