"""Rollouts on the disk in one file, so that a group's rollouts can be read wherever they stood in the input."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from echorl.lab.mine.layouts import Rollout


class Spool:
    """Rollouts in a file, and in memory 24 bytes a rollout and some hundred a group.

    Groups are numbered by their first rollout; the rollouts of one need not stand together.

    Attributes:
        digest: of all rollouts, without their places.
        num_groups: G.
    """

    def __init__(self, path: Path, rollouts: Iterable[Rollout]) -> None:
        self.path = path
        self._offsets, groups = array("q"), array("q")
        numbers: dict[bytes, int] = {}
        digest = hashlib.blake2b(digest_size=16)
        with path.open("wb") as file:
            for rollout in rollouts:
                key = hashlib.blake2b(rollout.group.encode("utf-8", "surrogatepass"), digest_size=16).digest()
                groups.append(numbers.setdefault(key, len(numbers)))
                self._offsets.append(file.tell())
                digest.update(json.dumps({**asdict(rollout), "place": None}).encode())
                file.write(json.dumps(asdict(rollout)).encode() + b"\n")
        self.digest, self.num_groups = digest.hexdigest(), len(numbers)
        self._groups = torch.frombuffer(groups, dtype=torch.int64) if groups else torch.empty(0, dtype=torch.int64)
        self._order = self._groups.argsort(stable=True)

    def __len__(self) -> int:
        return len(self._offsets)

    def parts(self, size: int) -> list[slice]:
        """Whole groups, in order, as slices for `read`: each takes groups until it has `size` rollouts or more."""
        ends = torch.bincount(self._groups, minlength=self.num_groups).cumsum(0).tolist()
        parts, start = [], 0
        for end in ends:
            if end - start >= size or end == len(self):
                parts.append(slice(start, end))
                start = end
        return parts

    def read(self, part: slice) -> tuple[list[Rollout], Tensor]:
        """A part's rollouts, group by group, and int64 [B], the number of each one's group."""
        rows = self._order[part]
        return list(self._load(rows.tolist())), self._groups[rows]

    def _load(self, rows: list[int]) -> Iterator[Rollout]:
        with self.path.open("rb") as file:
            for row in rows:
                file.seek(self._offsets[row])
                found = json.loads(file.readline())
                yield Rollout(**{**found, "place": tuple(found["place"])})
