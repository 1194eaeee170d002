"""An arm's folder: whose it is, and what a run may remove from it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from echorl.support.files import read_json, write_json
from echorl.support.folder import ResultFolder

MARK = "arm.json"
"""The file that makes a folder an arm's; it holds the settings and, once the arm is done, its result."""


def prepare_folder(folder: Path, key: dict[str, Any]) -> None:
    """Leave only what belongs to a run with this key; the mark is written before anything else.

    Raises:
        ValueError: `folder` holds something that no quickstart wrote.
    """
    found = read_json(folder / MARK)
    ResultFolder(folder, "quickstart", mark=MARK).check_owner()
    if found is not None and found.get("key") != key:
        shutil.rmtree(folder)
        found = None
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MARK, {"key": key, "value": None})
