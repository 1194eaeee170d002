"""What EchoRL (and TRL's generation buffer) must remember so that a resumed run equals one that was never stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from echorl.stored import replacing

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def save(trainer: EchoGRPOTrainer, trial: Any) -> None:
    """Write this process's state into the checkpoint that the trainer is about to write.

    Written first, so that a checkpoint with a trainer state always has it too; and in one move, so that a kill leaves
    no half of it.
    """
    folder = Path(trainer._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{trainer.state.global_step}"
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, trainer.accelerator.process_index)
    with replacing(path) as scratch:
        torch.save(_state(trainer), scratch)


def load(trainer: EchoGRPOTrainer, folder: str) -> None:
    """Restore what `save` wrote. A checkpoint without it (plain GRPO's) starts the ledger and the quantile afresh.

    All but the batch in use is the same on every process, so that between batches any number of them can resume.

    Raises:
        ValueError: the checkpoint lies within a generation batch that other processes than these hold, or has the
            memory of another method.
    """
    path = _path(Path(folder), trainer.accelerator.process_index)
    _forward_sampler(trainer)
    if not path.exists():
        path = _path(Path(folder), 0)  # written by fewer processes
    if not path.exists():
        return
    device = trainer.accelerator.device
    state = torch.load(path, map_location="cpu" if device.type == "cpu" else device, weights_only=True)
    if state["buffer"] is not None and state["num_processes"] != trainer.accelerator.num_processes:
        raise ValueError(_other_processes(folder))
    trainer._step = state["step"]
    if state["buffer"] is not None:
        trainer._buffered_inputs = state["buffer"]
        trainer.receipt.load_state_dict(state["receipt"])
    trainer._metrics["train"].update(state["metrics"])
    trainer.ledger.load_state_dict(state["ledger"])
    trainer.entropy_floor = state["entropy_floor"]
    trainer.last_dump = state["last_dump"]
    trainer.warned = set(state["warned"])
    part, writer = state.get("part", {}), state.get("method", trainer.args.method)
    if part and writer != trainer.args.method:
        raise ValueError(_other_method(folder, writer, trainer.args.method))
    trainer.part.load_state_dict(part)


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
    within = trainer._step % (trainer.args.steps_per_generation * trainer.num_iterations) != 0
    return {
        "step": trainer._step,
        # TRL would generate anew after a resume and lose its place; so the batch in use goes along.
        "buffer": trainer._buffered_inputs if within else None,
        "num_processes": trainer.accelerator.num_processes,
        "receipt": trainer.receipt.state_dict(),
        "metrics": dict(trainer._metrics["train"]),  # of the logging interval that is not over yet
        "ledger": trainer.ledger.state_dict(),
        "entropy_floor": trainer.entropy_floor,
        "last_dump": trainer.last_dump,
        "warned": sorted(trainer.warned),
        "method": trainer.args.method,
        "part": trainer.part.state_dict(),
    }


def _forward_sampler(trainer: EchoGRPOTrainer) -> None:
    """Draw the permutations of the epochs already done, else TRL's sampler starts again with the first one."""
    generator = getattr(getattr(trainer, "train_sampler", None), "generator", None)
    if generator is not None and trainer.shuffle_dataset:
        for _ in range(int(trainer.state.epoch or 0)):
            torch.randperm(trainer.train_sampler.num_samples, generator=generator)


def _path(folder: Path, process: int) -> Path:
    return folder / f"echorl_state_{process}.pt"


def _other_method(folder: str, writer: str | None, method: str | None) -> str:
    return (
        f"{folder} holds what method={writer!r} remembers, which method={method!r} cannot go on from: resume with "
        f"method={writer!r}, or start a new run from the checkpoint's weights."
    )


def _other_processes(folder: str) -> str:
    return (
        f"{folder} was written within a generation batch by another number of processes: resume with as many as then, "
        "or from a checkpoint at a generation batch's end."
    )
