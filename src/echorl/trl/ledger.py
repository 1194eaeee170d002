"""What the group ledger is for during a run: its table at the end, and an end at a number of tokens."""

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
        if state.is_world_process_zero and any(self.trainer.statistics.groups.values()):
            print(f"\nWhere the rollouts went:\n{self.trainer.statistics.table()}", flush=True)


class TokenBudget(TrainerCallback):
    """Ends training with the generation batch that reaches `max_rollout_tokens`, on every process alike.

    It looks after a step, as the Trainer does for `max_steps`: who resumes a run that had reached it trains one batch
    more. `echorl train` sees it beforehand (`echorl.train.run_folder.reached`).
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args, state, control, **kwargs):
        whole = self.trainer._step % (args.steps_per_generation * args.num_iterations) == 0
        if whole and self.trainer.statistics.num_tokens >= args.max_rollout_tokens:
            control.should_training_stop = True
