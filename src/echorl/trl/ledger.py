"""Prints the group ledger when a run ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import TrainerCallback

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


class LedgerCallback(TrainerCallback):
    """One table at the end of training, from the main process."""

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer

    def on_train_end(self, args, state, control, **kwargs):
        if state.is_world_process_zero and any(self.trainer.ledger.groups.values()):
            print(f"\nWhere the rollouts went:\n{self.trainer.ledger.table()}", flush=True)
