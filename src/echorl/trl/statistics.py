"""The group statistics of a run: the record of each batch, the table at the end, and the end at a number of tokens."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from echorl.core.rollouts import Rollouts
from echorl.core.statistics import GROUPS_WITH_GRADIENT, GroupStatistics, audit_line
from echorl.trl.batch import Capture
from echorl.trl.context import Context


def record(
    statistics: GroupStatistics,
    rollouts: Rollouts,
    filtered: Tensor,
    out: dict[str, Any],
    capture: Capture,
    context: Context,
) -> None:
    """Add a batch to the statistics of the run and of the logging interval; `filtered` is bool [G]."""
    lengths = torch.tensor(capture.num_sampled, device=rollouts.success.device)
    if "tool_mask" in out:  # a tool's output is not the policy's; rows masked as truncated count whole
        from_policy = (out["completion_mask"] * out["tool_mask"]).sum(1)
        lengths = torch.where(from_policy > 0, from_policy, lengths)
    if capture.num_extra:
        lengths = lengths + torch.tensor(capture.num_extra, device=lengths.device)
    columns = rollouts.groups.columns(context.comm.gather(lengths), filtered)
    metrics = statistics.record(*columns)
    context.log.update({GROUPS_WITH_GRADIENT: metrics[GROUPS_WITH_GRADIENT]})  # a count: the mean over batches
    context.log.add_groups(columns)


class StatisticsTable(TrainerCallback):
    """Prints the table of statistics and the commands that draw the run, when training ends, from the main process."""

    def __init__(self, statistics: GroupStatistics) -> None:
        self.statistics = statistics

    def on_train_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        if not state.is_world_process_zero:
            return
        if self.statistics.num_groups:
            print(f"\nWhere the rollouts went:\n{self.statistics.table()}")
        for line in page_commands(args.output_dir, args.echo_rollouts_every):
            print(line, flush=True)


def page_commands(output_dir: str, rollouts_every: int) -> list[str]:
    """Return lines with the commands that draw a run: its curves, and the most complete log that it has kept."""
    lines = [f"The run as a page: echorl report {shlex.quote(output_dir)}"]
    logs = ("rollouts", "completions") if rollouts_every == 1 else ("completions", "rollouts")
    folders = [Path(output_dir, name) for name in logs]
    kept = [folder for folder in folders if any(folder.glob("*.parquet"))]
    return [*lines, *map(audit_line, kept[:1])]


class TokenBudget(TrainerCallback):
    """Ends training with the generation batch that reaches `max_rollout_tokens`, on every process alike.

    It checks after a step, as the Trainer does for `max_steps`: a resumed run that had reached the number trains one
    batch more. `echorl train` checks before (`echorl.train.run_folder.reached`).

    Args:
        micro_step: returns the number of micro-steps so far.
    """

    def __init__(self, statistics: GroupStatistics, micro_step: Callable[[], int]) -> None:
        self.statistics, self.micro_step = statistics, micro_step

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        is_batch_end = self.micro_step() % (args.steps_per_generation * args.num_iterations) == 0
        if is_batch_end and self.statistics.num_tokens >= args.max_rollout_tokens:
            control.should_training_stop = True
