"""verl's weight transfer for `separate_async` by a file: its own engines need NCCL or its like."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import torch
from verl.checkpoint_engine import CheckpointEngine, CheckpointEngineRegistry


@CheckpointEngineRegistry.register("file")
class FileCheckpointEngine(CheckpointEngine):
    """The trainer's first rank names a new file for each transfer and writes it; all engines read it."""

    def __init__(self, bucket_size: int, is_master: bool = False) -> None:
        self.is_master = is_master

    def prepare(self):
        return Path(tempfile.mkdtemp(prefix="weights"), "weights.pt") if self.is_master else None

    @classmethod
    def build_topology(cls, trainers, engines, metadata):
        return {"file": metadata[:1] * trainers}, {"file": metadata[:1] * engines}

    def init_process_group(self, file):
        self.file = file

    def finalize(self):
        if self.is_master:
            self.file.unlink()
            self.file.parent.rmdir()

    async def send_weights(self, weights, global_steps=None):
        found = {name: tensor.detach().clone() for name, tensor in weights}  # of all ranks: gathering is collective
        if self.is_master:
            torch.save(found, self.file.with_suffix(".tmp"))
            os.replace(self.file.with_suffix(".tmp"), self.file)

    async def receive_weights(self, global_steps=None):
        while not self.file.exists():
            await asyncio.sleep(0.02)
        for name, tensor in torch.load(self.file).items():
            yield name, tensor
