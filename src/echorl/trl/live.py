"""A few EchoClips as a table in W&B, Trackio and TensorBoard, beside the metrics that TRL sends there."""

from __future__ import annotations

import importlib
import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd
from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback

from echorl.core.ledger import KINDS
from echorl.trl.rollouts import Mined
from echorl.visible import prompt_text, visible

if TYPE_CHECKING:
    from echorl.trl.config import EchoGRPOConfig
    from echorl.trl.trainer import EchoGRPOTrainer

Row = dict[str, Any]

PLACES = ("wandb", "trackio", "tensorboard")
NAME = "train/echo/clips"  # where the trackers put the metrics of training
LONGEST = 2000  # characters of a cell: a page of long rollouts has to open in a browser


def check_live(config: EchoGRPOConfig) -> None:
    """Refuse `echo_clips_logged` where nothing shows it.

    Raises:
        ValueError: `report_to` names neither W&B nor Trackio nor TensorBoard.
    """
    if config.echo_clips_logged and not set(PLACES) & set(config.report_to):
        raise ValueError(
            f"echo_clips_logged={config.echo_clips_logged} has nowhere to go with report_to={config.report_to}: "
            f"name {', '.join(PLACES[:-1])} or {PLACES[-1]} in report_to, or leave it at 0."
        )


class LiveClips(TrainerCallback):
    """Shows clips of the newest generation batch at each evaluation, or at each logging of a run without evaluations.

    Each process keeps a few of its own; they are gathered only when they are shown. A batch is shown once.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer
        self.rows: list[Row] = []
        self.batch = -1

    def keep(self, mined: Mined) -> None:
        """Keep the first clips of each kind of group; rounds of one generation batch add up."""
        if self.trainer._step != self.batch:
            self.batch, self.rows = self.trainer._step, []
        counts = Counter(row["kind"] for row in self.rows)
        for clip, rollout in enumerate(mined.clips.rollout.tolist()):
            kind = mined.kinds[rollout]
            counts[kind] += 1
            if counts[kind] <= self.trainer.args.echo_clips_logged:
                self.rows.append(_row(self.trainer._tokenizer, mined, clip, rollout))

    def on_evaluate(self, args, state, control, **kwargs):
        self._show(args, state)

    def on_log(self, args, state, control, **kwargs):
        if args.eval_strategy == "no":
            self._show(args, state)

    def _show(self, args, state) -> None:
        rows, self.rows = choose(gather_object(self.rows), args.echo_clips_logged), []
        if not rows or not state.is_world_process_zero:
            return
        rows = [{"step": state.global_step, **row} for row in rows]
        for tracker in _trackers(args.report_to):
            table = tracker.Table(dataframe=pd.DataFrame(rows))
            tracker.log({NAME: table, "train/global_step": state.global_step})
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, TensorBoardCallback) and callback.tb_writer is not None:
                callback.tb_writer.add_text(NAME, markdown(rows), state.global_step)
                callback.tb_writer.flush()


def choose(rows: list[Row], number: int) -> list[Row]:
    """The first `number` rows, the kinds of groups taking turns: what a clip is depends on the kind."""
    apart = [[row for row in rows if row["kind"] == kind] for kind in sorted(KINDS)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*apart))
    return [row for row in turns if row is not None][:number]


def _row(tokenizer: Any, mined: Mined, clip: int, rollout: int) -> Row:
    clips, steps, ids = mined.clips, mined.step_ids[rollout], mined.ids(rollout)
    end, length = int(clips.end[clip]), int(clips.length[clip])
    start = steps.tolist().index(int(clips.step[clip]))
    before, hardest, after = (tokenizer.decode(part) for part in (ids[:start], ids[start:end], ids[end:]))
    return {
        "kind": mined.kinds[rollout],
        "prompt": shown(prompt_text(mined.prompt(rollout))),
        "before the step": shown(before),
        "hardest step": shown(hardest),
        "after it": shown(after),
        "entropy": round(float(clips.entropy[clip]), 4),
        "tokens": length,
        "share": round(length / int((steps >= 0).sum()), 4),
    }


def shown(text: str) -> str:
    """The text with control characters visible and, where it is long, without its middle."""
    text = visible(text)
    left_out = len(text) - LONGEST
    if left_out <= 0:
        return text
    return f"{text[: LONGEST // 2]} [... {left_out} characters ...] {text[-LONGEST // 2 :]}"


def _trackers(report_to: list[str]) -> list[Any]:
    """The modules of W&B and Trackio, as far as they are asked for and have a run."""
    modules = [importlib.import_module(name) for name in ("wandb", "trackio") if name in report_to]
    return [module for module in modules if module.__name__ != "wandb" or module.run is not None]


def markdown(rows: list[Row]) -> str:
    """A table in Markdown, the columns of the first row; whatever the cells hold is shown as it is."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([inert(str(v)) for v in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def inert(text: str) -> str:
    """Text for a cell of a Markdown table: punctuation as entities, so that nothing is a link, an image or a column.

    TensorBoard lets images pass, and a browser fetches them from wherever a rollout says.

    >>> inert("|<b>|\\n1")
    '&#124;&#60;b&#62;&#124;<br>1'
    """
    return "<br>".join(re.sub(r"[!-/:-@\[-`{-~]", lambda found: f"&#{ord(found[0])};", text).splitlines())
