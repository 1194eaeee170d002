"""Checks of an output folder: a command writes to an empty one, or to its own one with the same settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.support.stored import is_scratch, read_json, write_json

SETTINGS = "settings.json"
LOCK = ".lock"


def contents(folder: Path) -> list[str]:
    """Names in the folder, sorted, without the lock and scratch files; empty where there is no folder."""
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(name for name in names if name != LOCK and not is_scratch(name))


def check_empty(folder: Path, command: str) -> None:
    """Check that the folder is empty, or does not exist yet.

    Raises:
        ValueError: it holds files; the message names one of them.
    """
    if names := contents(folder):
        raise ValueError(f"{folder} holds files that {command} did not write ({names[0]}): give another output_dir.")


def check_same(folder: Path, holds: str, before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> None:
    """Check that the content of the folder was made with the present settings.

    Args:
        holds: name of that content for the message, such as "an evaluation".
        before, now: settings of then and of now, by name.
        place: text before a setting's name in the message.

    Raises:
        ValueError: a setting differs; the message names the first.
    """
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{folder} holds {holds} with other settings ({place}{name} {before.get(name)!r} then, "
                f"{now.get(name)!r} now): give another output_dir, or the settings as they were."
            )


def claim(folder: Path, settings: Mapping[str, Any], *, command: str, holds: str) -> None:
    """Create the folder if there is none, and record the settings in its settings.json.

    Raises:
        ValueError: it holds files of something else, or the command's own with other settings.
    """
    path = folder / SETTINGS
    before: Any = read_json(path)
    if not isinstance(before, dict):
        check_empty(folder, command)
        folder.mkdir(parents=True, exist_ok=True)
    else:
        check_same(folder, holds, before, settings)
    write_json(path, settings)


def remove_scratch(folder: Path) -> None:
    """Delete the scratch files that killed commands have left in the folder. The caller must hold its lock.

    The same holds for folders below it, except those with a lock of their own: another command may work there.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, LOCK).exists()]
        for name in filter(is_scratch, names):
            Path(place, name).unlink(missing_ok=True)
