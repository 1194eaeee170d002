"""The folder of `echorl probe`: settings, one file of projected gradients a few prompts, and probe.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from echorl.support.output_folder import claim
from echorl.support.stored import read_json, replacing, write_json, write_text

RESULT, PARTS = "probe.json", "parts"
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
        claim(self.folder, settings, command="`echorl probe`", holds="gradients made")
        (self.folder / PARTS).mkdir(exist_ok=True)

    def has(self, index: int, items: list[str]) -> bool:
        """Whether a part of these prompts is there."""
        known = read_json(self._mark(index))
        return known == {"items": items} and self._part(index).exists()

    def write(self, index: int, items: list[str], make: Callable[[], Part]) -> None:
        """Make a part and store it; the mark that says whose it is comes last."""
        self._mark(index).unlink(missing_ok=True)
        part = make()
        with replacing(self._part(index)) as scratch:
            torch.save(part, scratch)
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
        write_text(self.folder / RESULT, json.dumps(result, indent=1) + "\n")

    def _part(self, index: int) -> Path:
        return self.folder / PARTS / f"{index:06d}.pt"

    def _mark(self, index: int) -> Path:
        return self.folder / PARTS / f"{index:06d}.json"
