"""Results kept in JSON files under the settings that they were made with, so that nothing is computed twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TAIL_BYTES = 1 << 18
"""How much of a metrics file's end is looked at: a line has some kilobytes."""


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file or a kill left no whole object."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write in one move, so that a kill or a power cut leaves the old file or the new one."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value) + "\n")
        file.flush()
        os.fsync(file.fileno())  # else the name may reach the disk before the text does
    os.replace(scratch, path)


def stored(path: Path, key: Mapping[str, Any]) -> Any:
    """The value stored at `path` under the same key, else None."""
    found = read_json(path)
    return found.get("value") if found is not None and found.get("key") == key else None


def cached(path: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """The value stored at `path` under the same key, else what `make` gives, stored there. Values: JSON, not None."""
    value = stored(path, key)
    if value is None:
        value = make()
        write_json(path, {"key": dict(key), "value": value})
    return value


def last_value(path: Path, name: str) -> Any:
    """The last value of `name` in a metrics file (one JSON object a line); None where there is none.

    Read from the file's end, so that a long run costs no more; a line that is being written is skipped.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            value = json.loads(line).get(name)
        except ValueError:
            continue
        if value is not None:
            return value
    return None
