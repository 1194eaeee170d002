"""Hashes of the files that a run reads from this machine's disk: model, reward functions and data."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

MODEL = ("*.safetensors", "*.bin", "*.gguf", "*.json", "*.jinja", "*.model", "*.txt")
NO_MODEL = ("training_args.bin", "trainer_state.json")
"""Files that a trainer writes to the model's folder and no model reads."""
SETTLED_NS = 2_000_000_000
"""Age up to which a file may change again under the same time stamp, so that its hash is not cached."""


def hash_model(name: str) -> str:
    """Hash of the weights, configuration and tokenizer in a folder; the name itself for a model of the hub."""
    folder = Path(name)
    if not folder.is_dir():
        return name
    files = {path for pattern in MODEL for path in folder.glob(pattern) if path.name not in NO_MODEL}
    return _hash_all(sorted(files), folder)


def hash_files(options: Mapping[str, Any]) -> dict[str, str]:
    """Path -> hash of the code and the data on this machine that these options of `echorl train` name.

    The file of a rule of the user's goes by its name alone, wherever it is, unless another of these files has that.
    """
    hashes = {str(path): _hash_path(path) for path in _named(options) if path.exists()}
    method = str(options.get("method"))
    if ":" in method and (rule := _code(method)).exists():
        digest = _hash_path(rule)
        hashes[rule.name if hashes.get(rule.name, digest) == digest else str(rule)] = digest
    return hashes


def _named(options: Mapping[str, Any]) -> Iterator[Path]:
    functions = options.get("reward_funcs") or []
    functions = [functions] if isinstance(functions, str) else functions
    for name in [*functions, options.get("row_func")]:
        if name:
            yield _code(str(name))
    for name in (
        options.get("train_file"),
        options.get("eval_file"),
        _mapping(options.get("task_options")).get("data"),
    ):
        if name:
            yield Path(str(name))

    for value in _mapping(options.get("method_options")).values():
        if isinstance(value, str) and value.endswith(".jsonl"):
            yield Path(value)


def _code(function: str) -> Path:
    """The file of `file.py:function`, or the path of `module.function` in the current folder."""
    module = function.rpartition(":" if ":" in function else ".")[0]
    return Path(module if module.endswith(".py") else module.replace(".", "/") + ".py")


def _mapping(value: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    """Return an option's mapping, which can be JSON."""
    return json.loads(value) if isinstance(value, str) else value or {}


def _hash_path(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return _hash_all(files, path)


def _hash_all(files: list[Path], folder: Path) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)} {hash_file(path)}\n".encode())
    return digest.hexdigest()[:16]


def hash_file(path: Path) -> str:
    """Hash of the file's content. A process reads a file again only if its size or time of change differs."""
    state = path.stat()
    if time.time_ns() - state.st_mtime_ns < SETTLED_NS:
        return _read(path)
    return _remembered(path.resolve(), state.st_size, state.st_mtime_ns)


@cache
def _remembered(path: Path, size: int, changed: int) -> str:
    return _read(path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
