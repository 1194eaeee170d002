"""Dumps of generation batches with their steps, entropies and EchoClips: `output_dir/rollouts/*.parquet`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from trl.trainer.utils import strip_images_from_messages

from echorl.core.miner import Mined
from echorl.core.rollouts import Rollouts
from echorl.core.statistics import KINDS
from echorl.support.files import replacing
from echorl.support.visible import visible
from echorl.tasks.base import completion_text
from echorl.trl.sources import GenerationCapture

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

LoggedRow = tuple[str | None, str | None, str | None, float | None]
LOGGED_COLUMNS = ("echo/kind", "echo/before_step", "echo/step", "echo/entropy")
"""What EchoRL adds to TRL's table of completions: the clip is the text before the step and the step."""
NO_CLIP: LoggedRow = (None, None, None, None)


@dataclass(frozen=True, eq=False)
class Scored:
    """A generation batch (or a round of one) of this process, B rollouts of N over all, when it has been mined.

    Attributes:
        out: TRL's batch; capture: lengths and texts of its rollouts.
        entropy: [B, T].
    """

    out: dict[str, Any]
    capture: GenerationCapture
    rollouts: Rollouts
    entropy: Tensor
    mined: Mined

    @cached_property
    def kinds(self) -> list[str]:
        """[B], of each rollout's group."""
        groups = self.rollouts.groups
        return [KINDS[kind] for kind in groups.kind[groups.index[self.rollouts.local]].tolist()]

    def ids(self, row: int) -> list[int]:
        """The response's tokens."""
        return self.out["completion_ids"][row, : self.capture.lengths[row]].tolist()

    def prompt(self, row: int) -> str:
        """As text; chat messages as JSON, without the images themselves."""
        messages = strip_images_from_messages(self.capture.texts[0][row])
        return messages if isinstance(messages, str) else json.dumps(messages, ensure_ascii=False, default=str)


def dump_if_due(trainer: EchoGRPOTrainer, mined: Scored) -> None:
    """Write this process's rollouts of the batch, one row each, `echo_rollouts_every` steps after the last dump.

    Of several clips of a rollout the row holds the longest.
    """
    if not is_due(trainer):
        return
    trainer.last_dump = step = trainer.state.global_step
    folder = Path(trainer.args.output_dir) / "rollouts"
    folder.mkdir(parents=True, exist_ok=True)
    clips = _clips(mined)
    rows = [
        {"step": step, **_row(trainer, mined, i), **_clip(*clips.get(i, (0, -1, None)))}
        for i in range(len(mined.capture.lengths))
    ]
    name = f"step-{step:06d}-process-{trainer.accelerator.process_index}.parquet"
    with replacing(folder / name) as scratch:
        pq.write_table(pa.Table.from_pylist(rows), scratch)


def is_due(trainer: EchoGRPOTrainer) -> bool:
    """Whether the batch at hand is to be dumped."""
    every, last = trainer.args.echo_rollouts_every, trainer.last_dump
    return bool(every) and (last is None or trainer.state.global_step >= last + every)


def _row(trainer: EchoGRPOTrainer, mined: Scored, i: int) -> dict[str, Any]:
    rollouts, own, length = mined.rollouts, mined.rollouts.local, mined.capture.lengths[i]
    written = bool(rollouts.from_policy[own][i])
    return {
        "group": int(rollouts.groups.index[own][i]),
        "kind": mined.kinds[i],
        # A demonstration is used only if it is right, also where its reward is kept from its group.
        "success": bool(rollouts.success[own][i]) or not written,
        "written_by_policy": written,
        "prompt": mined.prompt(i),
        "completion": completion_text(mined.capture.texts[1][i]),
        "tokens": trainer._tokenizer.batch_decode([[t] for t in mined.ids(i)]),
        "entropy": mined.entropy[i, :length].float().tolist(),
        "step_ids": mined.mined.step_ids[i, :length].tolist(),
    }


def _clip(end: int, step: int, entropy: float | None) -> dict[str, Any]:
    return {"clip_end": end, "clip_step": step, "clip_entropy": entropy}


def _clips(mined: Scored) -> dict[int, tuple[int, int, float]]:
    """Row -> end, last step and that step's entropy, of the longest of its clips."""
    clips = mined.mined.clips
    columns = (x.tolist() for x in (clips.rollout, clips.end, clips.step, clips.entropy))
    return {row: clip for row, *clip in zip(*columns, strict=True)}


def logged_rows(tokenizer: Any, mined: Scored) -> list[LoggedRow]:
    """Return the values of `LOGGED_COLUMNS` for each rollout."""
    clips = _clips(mined)
    return [_logged_row(tokenizer, mined, row, *clips.get(row, (0, -1, None))) for row in range(len(mined.kinds))]


def _logged_row(tokenizer: Any, mined: Scored, row: int, end: int, step: int, entropy: float | None) -> LoggedRow:
    if not end:
        return mined.kinds[row], *NO_CLIP[1:]
    start, ids = mined.mined.step_ids[row].tolist().index(step), mined.ids(row)
    texts = (visible(tokenizer.decode(part)) for part in (ids[:start], ids[start:end]))
    return mined.kinds[row], *texts, entropy if math.isfinite(entropy) else None
