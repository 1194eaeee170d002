"""`Communication` between the processes of an accelerate run."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor


class AcceleratorCommunication:
    """`echorl.core.communication.Communication` through an `Accelerator`."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.rank, self.num_ranks = accelerator.process_index, accelerator.num_processes
        self.device = accelerator.device

    def gather(self, values: Tensor) -> Tensor:
        return self.accelerator.gather(values)

    def gather_uneven(self, values: Tensor, fill: float) -> Tensor:
        return self.gather(self.accelerator.pad_across_processes(values, dim=0, pad_index=fill))

    def sum(self, values: Tensor) -> Tensor:
        return self.accelerator.reduce(values, reduction="sum")

    def gather_objects(self, objects: list[Any]) -> list[Any]:
        return gather_object(objects)
