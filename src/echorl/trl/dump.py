"""Views of single rollouts: Parquet dumps with steps, entropies and clips; TRL's table of completions."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from transformers import TrainerCallback

from echorl.core.miner import Mined
from echorl.core.rollouts import Rollouts
from echorl.core.statistics import KINDS
from echorl.support.files import replacing
from echorl.support.visible import visible
from echorl.tasks.base import completion_text
from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.prompts import without_images

LoggedRow = tuple[str | None, str | None, str | None, float | None]
LOGGED_COLUMNS = ("echo/kind", "echo/before_step", "echo/step", "echo/entropy")
"""Columns in TRL's table of completions; the clip is the text before the step, then the step."""
NO_CLIP: LoggedRow = (None, None, None, None)


@dataclass(frozen=True, eq=False)
class Annotated:
    """A mined generation batch (or a round of one), of which B rollouts are this process's; `entropy` is [B, T]."""

    capture: Capture
    rollouts: Rollouts
    entropy: Tensor
    mined: Mined

    @cached_property
    def kinds(self) -> list[str]:
        """[B], the kind of each rollout's group."""
        groups = self.rollouts.groups
        return [KINDS[kind] for kind in groups.kind[groups.index[self.rollouts.local]].tolist()]

    @cached_property
    def clips(self) -> dict[int, tuple[int, int, float]]:
        """Row -> (end, last step, entropy of that step) of the longest of its clips."""
        return self.mined.clips.longest()

    def prompt(self, row: int) -> str:
        """Return the prompt as text; chat messages as JSON, without the images themselves."""
        messages = without_images(self.capture.texts[0][row])
        return messages if isinstance(messages, str) else json.dumps(messages, ensure_ascii=False, default=str)


class RolloutDump:
    """Writes a generation batch to `output_dir/rollouts` every `echo_rollouts_every` optimiser steps.

    A dump has the number of the first optimiser step that its batch trains, counted from 1 as in the metrics.

    Attributes:
        last: the step of the last dump.
    """

    def __init__(self) -> None:
        self.last: int | None = None

    def is_due(self, context: Context) -> bool:
        """Return whether the next batch is to be dumped."""
        every = context.args.echo_rollouts_every
        return bool(every) and (self.last is None or context.step + 1 >= self.last + every)

    def write(self, batch: Annotated, context: Context) -> None:
        """Write this process's rollouts, one row each, with the longest clip of each."""
        self.last = step = context.step + 1
        folder = Path(context.args.output_dir) / "rollouts"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"step": step, **_dump_row(batch, row, context.tokenizer)} for row in range(len(batch.kinds))]
        with replacing(folder / f"step-{step:06d}-process-{context.comm.rank}.parquet") as scratch:
            pq.write_table(pa.Table.from_pylist(rows), scratch)

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last = state["last"]


class EarlierDumps(TrainerCallback):
    """Deletes, when training begins, the dumps of steps that it will make: an earlier run in this folder left them."""

    def on_train_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        if state.is_world_process_zero:
            for path in Path(args.output_dir, "rollouts").glob("step-*-process-*.parquet"):
                step = path.name.split("-")[1]
                if step.isdigit() and int(step) > state.global_step:
                    path.unlink()


def _dump_row(batch: Annotated, row: int, tokenizer: Any) -> dict[str, Any]:
    place, rollouts, ids = batch.rollouts.local.start + row, batch.rollouts, batch.capture.completion_ids[row]
    from_policy, reward = bool(rollouts.from_policy[place]), float(rollouts.rewards[place])
    end, step, entropy = batch.clips.get(row, (0, -1, None))
    return {
        "group": int(rollouts.groups.index[place]),
        "kind": batch.kinds[row],
        # A demonstration without a verdict is correct: its reward does not count in its group.
        "success": bool(rollouts.success[place]) or not (from_policy or bool(rollouts.has_verdict[place])),
        "reward": None if math.isnan(reward) else reward,
        "written_by_policy": from_policy,
        "prompt": batch.prompt(row),
        "completion": completion_text(batch.capture.texts[1][row]),
        "tokens": tokenizer.batch_decode([[token] for token in ids]),
        "entropy": batch.entropy[row, : len(ids)].float().tolist(),
        "step_ids": batch.mined.step_ids[row, : len(ids)].tolist(),
        "clip_end": end,
        "clip_step": step,
        "clip_entropy": entropy,
    }


def add_columns(rows: Sequence[LoggedRow], context: Context) -> None:
    """Add EchoRL's columns to TRL's table of completions: a row for each rollout that TRL has just added."""
    for name, values in zip(LOGGED_COLUMNS, zip(*rows, strict=True), strict=True):
        context.log.completions["extra"][name].extend(context.comm.gather_objects(list(values)))


def logged_row(batch: Annotated, row: int, tokenizer: Any) -> LoggedRow:
    """Return the values of `LOGGED_COLUMNS` for a rollout."""
    if row not in batch.clips:
        return batch.kinds[row], None, None, None
    end, step, entropy = batch.clips[row]
    start, ids = batch.mined.step_ids[row].tolist().index(step), batch.capture.completion_ids[row]
    before, last_step = (visible(tokenizer.decode(part)) for part in (ids[:start], ids[start:end]))
    return batch.kinds[row], before, last_step, entropy if math.isfinite(entropy) else None
