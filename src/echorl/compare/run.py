"""One run of a comparison: its folder, and what is stored there when it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import echorl
from echorl.compare.plan import Comparison, Run
from echorl.stored import read_json, stored, write_json

MARK = "run.json"
"""The file that makes a folder a run's: the settings it was made with and, once trained, how long it took."""


def run_options(comparison: Comparison, recipe: Mapping[str, Any], run: Run, folder: Path) -> dict[str, Any]:
    """The options of `echorl train` for this run: the recipe's, the arm's, and what the comparison sets."""
    rate = {} if run.rate is None else {"learning_rate": run.rate}
    return {
        **recipe,
        **comparison.arms[run.arm],
        **rate,
        "seed": run.seed,
        "max_rollout_tokens": comparison.rollout_tokens,
        "max_steps": comparison.rollout_tokens,  # never reached: a step samples more than one token
        "output_dir": str(folder / "policy"),
        "resume_from_checkpoint": "true",
    }


def run_key(options: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a finished run to be used again; where it lies does not matter."""
    own = {name: value for name, value in options.items() if name not in ("output_dir", "resume_from_checkpoint")}
    return {"version": echorl.__version__, "model": fingerprint(str(own.get("model_name_or_path"))), "options": own}


def fingerprint(model: str) -> str:
    """Changes when the weights in a folder do (sizes and first megabyte of each file); a hub's name is its own."""
    files = sorted(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    digest = hashlib.sha256(b"" if files else model.encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name} {path.stat().st_size}".encode() + file.read(1 << 20))
    return digest.hexdigest()[:16]


def claim(folder: Path, key: Mapping[str, Any]) -> None:
    """Make the folder this run's.

    Raises:
        ValueError: it holds something else, or a run with other settings; the message names the first that differs.
    """
    found = read_json(folder / MARK)
    if found is None:
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds files that no comparison wrote: choose another output_dir.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MARK, {"key": key, "value": None})
    elif found.get("key") != key:
        raise ValueError(
            f"{folder} holds a run with other settings ({_difference(found.get('key') or {}, key)}): choose another "
            "output_dir, or remove that folder."
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    for name in ("version", "model"):
        if before.get(name) != now[name]:
            return f"{name} {before.get(name)!r} then, {now[name]!r} now"
    old, new = before.get("options", {}), now["options"]
    name = next(name for name in {**old, **new} if old.get(name) != new.get(name))
    return f"{name} {old.get(name)!r} then, {new.get(name)!r} now"


def training_of(folder: Path, key: Mapping[str, Any]) -> Any:
    """{"updates", "rollout_tokens", "seconds"} of the finished training; None if it is still to be done."""
    return stored(folder / MARK, key)


def scores_path(folder: Path, split: str) -> Path:
    return folder / f"scores-{split}.json"


def scores_key(key: Mapping[str, Any], comparison: Comparison, split: str) -> dict[str, Any]:
    size = {name: getattr(comparison, name) for name in ("prompts", "samples", "temperature")}
    return {"run": dict(key), "split": split, **size}
