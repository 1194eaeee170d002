"""Collective operations between the processes of a run."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class Communication(Protocol):
    """Collective operations: each process calls them in the same order, and each gets the same result.

    Attributes:
        rank: the number of this process.
        num_ranks: the number of processes.
        device: of the tensors that are exchanged.
    """

    rank: int
    num_ranks: int
    device: torch.device

    def gather(self, values: Tensor) -> Tensor:
        """Return the rows of all processes, in order of their ranks; each process passes the same number."""

    def gather_uneven(self, values: Tensor, fill: float) -> Tensor:
        """Return the rows of all processes; those of shorter ones are padded with `fill`."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, elementwise."""

    def gather_objects(self, objects: list[Any]) -> list[Any]:
        """Return the entries of all processes' lists, in order of their ranks."""


class SingleProcess:
    """`Communication` of a run in one process, or of a driver that holds all rollouts."""

    rank, num_ranks, device = 0, 1, torch.device("cpu")

    def gather(self, values: Tensor) -> Tensor:
        return values

    def gather_uneven(self, values: Tensor, fill: float) -> Tensor:
        return values

    def sum(self, values: Tensor) -> Tensor:
        return values

    def gather_objects(self, objects: list[Any]) -> list[Any]:
        return objects
