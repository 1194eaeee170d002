"""The folder of `echorl probe`: settings, one file of projected gradients a few prompts, and probe.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from echorl.stored import read_json, write_json

SETTINGS, RESULT, PARTS = "settings.json", "probe.json", "parts"
OWN = (".lock", SETTINGS, RESULT, PARTS)
Part = dict[str, torch.Tensor]


class ProbeFolder:
    """The folder's files; each is written in one move, so that a kill leaves the old one, or the new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder these settings'.

        Raises:
            ValueError: it holds something else, or gradients of other settings; the message names the first.
        """
        path = self.folder / SETTINGS
        before = read_json(path)
        names = [own.name for own in self.folder.iterdir()] if self.folder.exists() else []
        if before is None and [name for name in names if name not in OWN and not name.endswith(".tmp")]:
            raise ValueError(f"{self.folder} holds files that `echorl probe` did not write: give another output_dir.")
        before = before or settings
        for name in {**before, **settings}:
            if before.get(name) != settings.get(name):
                raise ValueError(
                    f"{self.folder} holds gradients made with other settings ({name} {before.get(name)!r} then, "
                    f"{settings.get(name)!r} now): give another output_dir, or the settings as they were."
                )
        (self.folder / PARTS).mkdir(parents=True, exist_ok=True)
        write_json(path, settings)

    def has(self, index: int, items: list[str]) -> bool:
        """Whether a part of these prompts is there."""
        known = read_json(self._mark(index))
        return known == {"items": items} and self._part(index).exists()

    def write(self, index: int, items: list[str], make: Callable[[], Part]) -> None:
        """Make a part and store it; the mark that says whose it is comes last."""
        self._mark(index).unlink(missing_ok=True)
        scratch = self._part(index).with_suffix(".tmp")
        torch.save(make(), scratch)
        os.replace(scratch, self._part(index))
        write_json(self._mark(index), {"items": items})

    def read(self, index: int) -> Part:
        """A part that is there.

        Raises:
            ValueError: its file is damaged.
        """
        path = self._part(index)
        try:
            return torch.load(path, weights_only=True)
        except (EOFError, RuntimeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise ValueError(f"{path} is damaged ({why}): delete it and run the same command again.") from None

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result. The parts stay, so that more prompts can be added."""
        scratch = self.folder / "probe.tmp"
        scratch.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        os.replace(scratch, self.folder / RESULT)

    def _part(self, index: int) -> Path:
        return self.folder / PARTS / f"{index:06d}.pt"

    def _mark(self, index: int) -> Path:
        return self.folder / PARTS / f"{index:06d}.json"
