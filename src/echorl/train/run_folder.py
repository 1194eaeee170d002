"""A run's folder: the checkpoint to resume from, the check that it is of the same model, and the recipe of the run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.support.errors import UserError, one_line
from echorl.support.files import write_text
from echorl.support.installed import versions
from echorl.support.texts import parse_yaml

if TYPE_CHECKING:
    from echorl.train.parsing import Settings

SECRETS = ("hub_token",)
NOT_RECORDED = ("resume_from_checkpoint", "overwrite_output_dir", *SECRETS)
STATE = ("optimizer*", "scheduler*", "scaler*", "rng_state*", "echorl_state*", "trainer_state.json")
SHAPE = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


def checkpoints(folder: str | Path) -> list[Path]:
    """Return all checkpoint folders, the newest (by step) first."""
    steps = {path: path.name.rpartition("-")[2] for path in Path(folder).glob("checkpoint-*") if path.is_dir()}
    return sorted((path for path, step in steps.items() if step.isdigit()), key=lambda path: -int(steps[path]))


def is_complete(checkpoint: Path) -> bool:
    """Return whether every process has written its part: its last file is the trainer's state or the rng's."""
    try:
        _read_trainer_state(checkpoint)
    except (OSError, ValueError):
        return False
    state = _read_echorl_state(checkpoint)
    if not state:
        return True
    processes = state["settings"]["num_processes"]
    names = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    return all((checkpoint / name).exists() for name in names)


def choose_checkpoint(option: Any, folder: str | Path, say: Callable[[str], None]) -> Path | None:
    """Return the checkpoint to resume from: true = the newest complete one in `folder`, false = none, else a path."""
    text = str(option or "false").lower()
    if text == "false":
        return None
    if text != "true":
        given = f"resume_from_checkpoint={str(option)!r}"
        if not Path(option).is_dir():
            raise UserError(f"{given}: there is no such folder; give a checkpoint, or 'true'.")
        if not is_complete(Path(option)):
            raise UserError(f"{given} is incomplete: 'true' takes the newest complete checkpoint.")
        return Path(option)
    for checkpoint in checkpoints(folder):
        if is_complete(checkpoint):
            say(f"resuming from {checkpoint}")
            return checkpoint
        say(f"{checkpoint} is incomplete (a run was stopped while it wrote it): skipped")
    say(f"no complete checkpoint in {folder}: starting from the beginning")
    return None


def limit_reached(checkpoint: Path, training: Any) -> str | None:
    """Return the limit of the run that this checkpoint has reached, as "option=value"; None where training goes on.

    The limit of epochs is not among them: the Trainer ends such a run without a further step.
    """
    limits, done, state = vars(training), progress(checkpoint), _read_echorl_state(checkpoint)
    if 0 < limits["max_steps"] <= done["updates"]:
        return f"max_steps={limits['max_steps']}"
    budget = limits.get("max_rollout_tokens", 0)  # `echorl sft` samples nothing
    # The budget is checked where no generation batch is in use.
    between_batches = not state or state["position"]["buffer"] is None
    return f"max_rollout_tokens={budget}" if 0 < budget <= done["rollout_tokens"] and between_batches else None


def progress(checkpoint: Path) -> dict[str, int]:
    """Return {"updates", "rollout_tokens"} up to this checkpoint."""
    statistics = _read_echorl_state(checkpoint).get("statistics", {"tokens": {}})
    tokens = sum(statistics["tokens"].values())
    return {"updates": _read_trainer_state(checkpoint)["global_step"], "rollout_tokens": tokens}


def _read_trainer_state(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))


def _read_echorl_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state that `echorl.trl.checkpoint` saved; empty in a checkpoint of plain GRPO."""
    path = checkpoint / "echorl_state_0.pt"
    if not path.exists():
        return {}
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def check_resumable(checkpoint: Path) -> None:
    """Refuse to resume from a model alone: the optimiser and the count of tokens would begin anew."""
    if not any(checkpoint.glob("optimizer*")) and not any(checkpoint.glob("global_step*")):  # DeepSpeed's
        raise UserError(
            f"{checkpoint} holds a model and no state of the optimiser (save_only_model) to resume from: start a new "
            f"run with model_name_or_path={str(checkpoint)!r}, and save whole checkpoints."
        )


def final(checkpoint: Path, training: Any) -> Path:
    """Return the checkpoint whose model a finished run leaves: this, or with `load_best_model_at_end` the best."""
    best = checkpoint.parent / Path(_read_trainer_state(checkpoint).get("best_model_checkpoint") or checkpoint).name
    return best if training.load_best_model_at_end and best.is_dir() else checkpoint


def copy_model(checkpoint: Path, folder: str | Path) -> None:
    """Copy the files that transformers loads, without those that only a resumed run needs."""
    for path in checkpoint.iterdir():
        if path.is_file() and not any(path.match(pattern) for pattern in STATE):
            shutil.copy2(path, folder)


def check_same_model(checkpoint: Path, name: str, config: dict[str, Any], *, peft: bool) -> None:
    """Refuse to go on from a checkpoint of another model than `name`, whose configuration is `config`."""
    adapter = (checkpoint / "adapter_config.json").exists()
    if adapter != peft:
        raise UserError(
            f"{checkpoint} holds {'an adapter' if adapter else 'a whole model'}, but use_peft is "
            f"{str(peft).lower()}: resume with use_peft={str(adapter).lower()}, or train to another output_dir."
        )
    before = recorded_model(checkpoint.parent)
    if before is not None and not _is_same_place(before, name):
        raise UserError(
            f"{checkpoint} is of the model {before!r}, not of model_name_or_path={name!r}: resume with that model, or "
            f"train to another output_dir (if it was moved, correct its name in {checkpoint.parent / 'config.yaml'})."
        )
    if not adapter:
        _check_shape(checkpoint, name, config)


def _check_shape(checkpoint: Path, name: str, config: dict[str, Any]) -> None:
    try:
        saved = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{checkpoint}/config.json cannot be read ({one_line(error)}): give another checkpoint."
        ) from None
    for key in SHAPE:
        if key in saved and key in config and saved[key] != config[key]:
            raise UserError(
                f"{checkpoint} is of another model: its {key} is {saved[key]}, that of model_name_or_path={name!r} is "
                f"{config[key]}; resume with the model it was trained from, or train to another output_dir."
            )


def recorded_model(folder: Path) -> str | None:
    """Return the model that the run in this folder started from, if it left a config.yaml."""
    try:
        recorded = parse_yaml((folder / "config.yaml").read_bytes())
    except (OSError, ValueError):
        return None
    return recorded.get("model_name_or_path") if isinstance(recorded, dict) else None


def _is_same_place(first: str, second: str) -> bool:
    if first == second:
        return True
    return os.path.isdir(first) and os.path.isdir(second) and os.path.samefile(first, second)


def write_config(command: str, settings: Settings, variables: Iterable[str]) -> None:
    """Write `config.yaml`: the options that were given, to run it again, and as comments the defaults of the others.

    Args:
        variables: names of the variables that the recipe's `env` set.
    """
    import yaml

    def dump(names: Iterable[str], values: dict[str, Any]) -> str:
        recorded = {name: _plain(values[name]) for name in sorted(names) if name not in NOT_RECORDED}
        return yaml.safe_dump(recorded, sort_keys=False, allow_unicode=True)

    given, defaults = settings.given, settings.defaults
    packages = ", ".join(map(" ".join, versions(("echorl", "trl", "transformers", "torch")).items()))
    lines = [f"# {packages}", f"# Run it again: echorl {command} --config config.yaml"]
    if names := ", ".join(variables):
        lines.append(f"# It ran with these variables of the recipe's env set: {names}")
    lines += [dump(given, given), "# Every other option had its default:"]
    lines += [f"# {line}" for line in dump(defaults.keys() - given.keys(), defaults).splitlines()]
    write_text(Path(settings.training.output_dir, "config.yaml"), "\n".join(lines) + "\n")


def _plain(value: Any) -> Any:
    """Return an option's value as YAML can hold it: an enum and the like as text."""
    simple = (str, int, float, bool, list, dict, type(None))
    return value if type(value) in simple else str(getattr(value, "value", value))
