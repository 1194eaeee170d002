"""The Trainer's progress bar, with a short line a log instead of every metric (`metrics.jsonl` has them all)."""

from __future__ import annotations

from typing import Any

from transformers import ProgressCallback, TrainerControl, TrainerState, TrainingArguments

SHOWN = {
    "reward": "reward",
    "eval_reward": "eval reward",
    "loss": "loss",
    "grad_norm": "grad norm",
    "completions/mean_length": "length",
    "echo/groups/all_success": "all-success",
    "echo/groups/all_fail": "all-fail",
    "echo/nll": "echo nll",
}


class ShortProgress(ProgressCallback):
    """A bar, and for each log one line with the values of `SHOWN`."""

    def close(self) -> None:
        """End the bars' lines, also when training was cut short."""
        for bar in (self.prediction_bar, self.training_bar):
            if bar is not None:
                bar.close()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write one line above the bar with the values of `SHOWN` that were logged."""
        if not state.is_world_process_zero or self.training_bar is None or not logs:
            return
        parts = [
            f"{label} {logs[name]:.4g}" for name, label in SHOWN.items() if isinstance(logs.get(name), (int, float))
        ]
        if parts:
            self.training_bar.write(f"step {state.global_step}/{state.max_steps}  " + "  ".join(parts))
