"""Dumps of generation batches with their steps, entropies and EchoClips: `output_dir/rollouts/*.parquet`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor
from trl.trainer.utils import strip_images_from_messages

from echorl.core.ledger import KINDS
from echorl.core.mining import EchoClips
from echorl.tasks.base import completion_text
from echorl.trl.sources import GenerationCapture
from echorl.trl.verdicts import Verdicts

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def dump_if_due(
    trainer: EchoGRPOTrainer,
    out: dict[str, Any],
    capture: GenerationCapture,
    verdicts: Verdicts,
    own_rows: slice,
    step_ids: Tensor,
    entropy: Tensor,
    clips: EchoClips,
) -> None:
    """Write this process's rollouts of the batch, one row each, `echo_rollouts_every` steps after the last dump.

    Of several clips of a rollout the row holds the longest.
    """
    if not _is_due(trainer):
        return
    trainer.last_dump = step = trainer.state.global_step
    folder = Path(trainer.args.output_dir) / "rollouts"
    folder.mkdir(parents=True, exist_ok=True)
    ends = {r: (e, s, h) for r, e, s, h in _clip_rows(clips)}
    rows = [
        {
            "step": step,
            "group": int(verdicts.groups[own_rows][i]),
            "kind": KINDS[int(verdicts.kinds.kind[verdicts.kinds.group[own_rows][i]])],
            # A demonstration is used only if it is right, also where its reward is kept from its group.
            "success": bool(verdicts.success[own_rows][i]) or not bool(verdicts.written[own_rows][i]),
            "written_by_policy": bool(verdicts.written[own_rows][i]),
            "prompt": _text(capture.texts[0][i]),
            "completion": completion_text(capture.texts[1][i]),
            "tokens": trainer._tokenizer.batch_decode([[t] for t in out["completion_ids"][i, :length].tolist()]),
            "entropy": entropy[i, :length].float().tolist(),
            "step_ids": step_ids[i, :length].tolist(),
            "clip_end": ends.get(i, (0, -1, None))[0],
            "clip_step": ends.get(i, (0, -1, None))[1],
            "clip_entropy": ends.get(i, (0, -1, None))[2],
        }
        for i, length in enumerate(capture.lengths)
    ]
    name = f"step-{step:06d}-process-{trainer.accelerator.process_index}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), folder / name)


def _is_due(trainer: EchoGRPOTrainer) -> bool:
    every, last = trainer.args.echo_rollouts_every, trainer.last_dump
    return bool(every) and (last is None or trainer.state.global_step >= last + every)


def _clip_rows(clips: EchoClips) -> list[tuple]:
    return list(zip(*(x.tolist() for x in (clips.rollout, clips.end, clips.step, clips.entropy)), strict=True))


def _text(value: Any) -> str:
    """A prompt as text; chat messages as JSON, without the images themselves."""
    messages = strip_images_from_messages(value)
    return messages if isinstance(messages, str) else json.dumps(messages, ensure_ascii=False, default=str)
