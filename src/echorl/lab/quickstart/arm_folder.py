"""An arm's folder: whose it is, and what a run may remove from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from echorl.support.output_folder import check_empty
from echorl.support.stored import read_json, write_json

MARK = "arm.json"
"""The file that makes a folder an arm's; it holds the settings and, once the arm is done, its result."""


def prepare_folder(folder: Path, key: dict[str, Any]) -> None:
    """Leave only what belongs to a run with this key; the mark is written before anything else.

    Raises:
        ValueError: `folder` holds something that no quickstart wrote.
    """
    found = read_json(folder / MARK)
    if found is None:
        check_empty(folder, "`echorl quickstart`")
    if found is not None and found.get("key") != key:
        shutil.rmtree(folder)
        found = None
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MARK, {"key": key, "value": None})
