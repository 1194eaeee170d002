"""Rollouts in one file on the disk, so that a group's rollouts can be read wherever they stood in the input."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from echorl.lab.audit.evidence import counted_as
from echorl.lab.logs.layouts import Rollout


class Spool:
    """Rollouts in a file; in memory 24 bytes a rollout and some hundred a group.

    Groups are numbered by their first rollout; the rollouts of a group need not stand together in the input.

    Attributes:
        digest: hash of all rollouts without their places.
        rewards: reward -> number of rollouts, as `audit` counts them.
    """

    def __init__(self, path: Path, rollouts: Iterable[Rollout]) -> None:
        self.path = path
        self._offsets, groups = array("q"), array("q")
        self.rewards: Counter[float] = Counter()
        numbers: dict[bytes, int] = {}
        digest = hashlib.blake2b(digest_size=16)
        with path.open("wb") as file:
            for rollout in rollouts:
                key = hashlib.blake2b(rollout.group.encode(), digest_size=16).digest()
                groups.append(numbers.setdefault(key, len(numbers)))
                self._offsets.append(file.tell())
                if rollout.reward is not None:
                    self.rewards[counted_as(rollout.reward, self.rewards)] += 1
                digest.update(json.dumps({**asdict(rollout), "place": None}).encode())
                file.write(json.dumps(asdict(rollout)).encode() + b"\n")
        self.digest = digest.hexdigest()
        self._groups = torch.frombuffer(groups, dtype=torch.int64)
        self._order = self._groups.argsort(stable=True)

    def __len__(self) -> int:
        return len(self._offsets)

    def parts(self, size: int) -> list[slice]:
        """Return slices of whole groups for `read`: each takes groups until it has `size` rollouts or more."""
        parts, start = [], 0
        for end in self._groups.bincount().cumsum(0).tolist():
            if end - start >= size or end == len(self):
                parts.append(slice(start, end))
                start = end
        return parts

    def read(self, part: slice) -> tuple[list[Rollout], Tensor]:
        """Return a part's rollouts, group by group, and int64 [B], the number of each rollout's group."""
        rows, rollouts = self._order[part], []
        with self.path.open("rb") as file:
            for row in rows.tolist():
                file.seek(self._offsets[row])
                values = json.loads(file.readline())
                rollouts.append(Rollout(**{**values, "place": tuple(values["place"])}))
        return rollouts, self._groups[rows]
