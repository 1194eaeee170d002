"""A run in one of several processes; the first saves the gradient of its first step, and all rollouts."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object

from tests.swift.by_hand import plain
from tests.swift.runs import run

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    trainer = run(folder, "all_right", dict(coef=0.5), per_device_train_batch_size=3)
    micro_batches = gather_object(plain(trainer.batches[0]))
    if trainer.accelerator.is_main_process:
        saved = {
            "gradient": trainer.gradients[0],
            "micro_batches": micro_batches,
            "delimiters": trainer.echo_miner.delimiters,
            "groups": trainer.echo_statistics.groups,
            "line": trainer.state.log_history[0],
        }
        torch.save(saved, folder / "gradient.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
