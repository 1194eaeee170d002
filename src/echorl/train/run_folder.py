"""A run's folder: is it writable, which checkpoint to go on from, is it the same model's, and the recipe it ran by."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.support.errors import UserError, one_line
from echorl.support.files import write_text
from echorl.support.installed import versions

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
    """All checkpoint folders, the newest (by step) first."""
    found = [p for p in Path(folder).glob("checkpoint-*") if p.is_dir() and p.name.rpartition("-")[2].isdigit()]
    return sorted(found, key=lambda p: -int(p.name.rpartition("-")[2]))


def is_complete(checkpoint: Path) -> bool:
    """Return whether every process had written its part: last the trainer's state on the first, the rng's elsewhere."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    state = _own_state(checkpoint)
    if not state:
        return True
    processes = state["settings"]["num_processes"]
    names = ["rng_state.pth"] if processes == 1 else [f"rng_state_{rank}.pth" for rank in range(processes)]
    return all((checkpoint / name).exists() for name in names)


def choose_checkpoint(wanted: Any, folder: str | Path, say: Callable[[str], None]) -> Path | None:
    """Return the checkpoint to resume from: true = the newest complete one in `folder`, false = none, else a path."""
    text = str(wanted or "false").lower()
    if text == "false":
        return None
    if text != "true":
        return _named(Path(wanted))
    for checkpoint in checkpoints(folder):
        if is_complete(checkpoint):
            say(f"resuming from {checkpoint}")
            return checkpoint
        say(f"{checkpoint} is incomplete (a run was stopped while it wrote it): skipped")
    say(f"no complete checkpoint in {folder}: starting from the beginning")
    return None


def _named(checkpoint: Path) -> Path:
    if not checkpoint.is_dir():
        raise UserError(f"resume_from_checkpoint={str(checkpoint)!r}: there is no such folder; give one, or 'true'.")
    if not is_complete(checkpoint):
        raise UserError(
            f"resume_from_checkpoint={str(checkpoint)!r} is incomplete: 'true' takes the newest complete checkpoint."
        )
    return checkpoint


def reached(checkpoint: Path, training: Any) -> str | None:
    """The limit of the run that this checkpoint has reached, as "option=value"; None where training goes on.

    Runs counted in epochs see to that themselves.
    """
    limits, own = vars(training), _own_state(checkpoint)
    done = _progress(checkpoint, own)
    if 0 < limits["max_steps"] <= done["updates"]:
        return f"max_steps={limits['max_steps']}"
    budget = limits.get("max_rollout_tokens", 0)  # `echorl sft` samples nothing
    # A budget is looked at where no generation batch is in use.
    between_batches = not own or own["position"]["buffer"] is None
    if budget and between_batches and done["rollout_tokens"] >= budget:
        return f"max_rollout_tokens={budget}"
    return None


def progress(checkpoint: Path) -> dict[str, int]:
    """{"updates", "rollout_tokens"} up to this checkpoint."""
    return _progress(checkpoint, _own_state(checkpoint))


def _progress(checkpoint: Path, own: Mapping[str, Any]) -> dict[str, int]:
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    statistics = own.get("statistics", {"tokens": {}})
    return {"updates": state["global_step"], "rollout_tokens": sum(statistics["tokens"].values())}


def _own_state(checkpoint: Path) -> dict[str, Any]:
    """Return the state that `echorl.trl.checkpoint` saved; empty in a checkpoint of plain GRPO."""
    path = checkpoint / "echorl_state_0.pt"
    if not path.exists():
        return {}
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def check_resumable(checkpoint: Path) -> None:
    """Refuse to go on from a model alone: the optimiser and the tokens spent would begin anew, unnoticed."""
    if not any(checkpoint.glob("optimizer*")) and not any(checkpoint.glob("global_step*")):  # DeepSpeed's
        raise UserError(
            f"{checkpoint} holds a model and no state of the optimiser (save_only_model): it can't be resumed. Start a "
            f"new run with model_name_or_path={str(checkpoint)!r}, and save whole checkpoints."
        )


def final(checkpoint: Path, training: Any) -> Path:
    """The checkpoint whose model a finished run leaves: this last one, or with `load_best_model_at_end` the best."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    best = checkpoint.parent / Path(state.get("best_model_checkpoint") or checkpoint).name
    return best if training.load_best_model_at_end and best.is_dir() else checkpoint


def copy_model(checkpoint: Path, folder: str | Path) -> None:
    """Copy what transformers loads, and not what only a resumed run needs."""
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
    if before is not None and not _same_place(before, name):
        raise UserError(
            f"{checkpoint} is of the model {before!r}, not of model_name_or_path={name!r}: resume with that model, or "
            f"train to another output_dir (if it only moved, correct it in {checkpoint.parent / 'config.yaml'})."
        )
    if not adapter:
        _check_shape(checkpoint, name, config)


def _check_shape(checkpoint: Path, name: str, config: dict[str, Any]) -> None:
    try:
        saved = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint} holds no readable config.json ({one_line(error)}): take another one.") from None
    for key in SHAPE:
        if key in saved and key in config and saved[key] != config[key]:
            raise UserError(
                f"{checkpoint} is of another model: its {key} is {saved[key]}, that of model_name_or_path={name!r} is "
                f"{config[key]}; resume with the model it was trained from, or train to another output_dir."
            )


def recorded_model(folder: Path) -> str | None:
    """The model that the run in this folder started from, if it left a config.yaml."""
    import yaml

    from echorl.support.yaml_file import load_yaml

    try:
        recorded = load_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    return recorded.get("model_name_or_path") if isinstance(recorded, dict) else None


def _same_place(one: str, other: str) -> bool:
    return one == other or (os.path.isdir(one) and os.path.isdir(other) and os.path.samefile(one, other))


def write_config(command: str, settings: Settings, env: Mapping[str, str]) -> None:
    """`config.yaml`: what was asked for, to run it again, and as comments the defaults that held."""
    import yaml

    given, defaults, folder = settings.given, settings.defaults, Path(settings.training.output_dir)
    installed = ", ".join(map(" ".join, versions(("echorl", "trl", "transformers", "torch")).items()))
    asked = {key: value for key, value in sorted(given.items()) if key not in NOT_RECORDED}
    rest = {key: value for key, value in sorted(defaults.items()) if key not in given and key not in NOT_RECORDED}
    comments = yaml.safe_dump(_plain(rest), sort_keys=False, allow_unicode=True).splitlines()
    lines = [f"# {installed}", f"# Run it again: echorl {command} --config config.yaml"]
    lines += [f"# It ran with these variables of the recipe's env set: {', '.join(env)}"] if env else []
    lines += [
        yaml.safe_dump(_plain(asked), sort_keys=False, allow_unicode=True),
        "# Every other option had its default:",
    ]
    text = "\n".join([*lines, *(f"# {line}" for line in comments)]) + "\n"
    write_text(folder / "config.yaml", text)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Enums and the like as text, so that YAML can hold them."""
    simple = (str, int, float, bool, list, dict, type(None))
    return {
        key: value if type(value) in simple else str(getattr(value, "value", value)) for key, value in values.items()
    }
