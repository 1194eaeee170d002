"""`metrics.jsonl`: every logged value, one JSON object a line, for any `report_to`."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import TrainerCallback

from echorl.support.files import write_text

OF_ALL_STEPS = ("train_loss", "train_samples_per_second", "train_steps_per_second")
"""Means over a run, in its summary. In a resumed run some versions of the Trainer divide by all steps, also by those
before the resume."""


class MetricsFile(TrainerCallback):
    """Appends every log of the main process to `path`, flushed line by line.

    The file is of one run: it begins when training begins, after an evaluation before training, if there is one. A
    resumed run first removes the lines after its checkpoint's step, and the summary of the run that it continues, so
    that no line stands twice. Its own summary has no `OF_ALL_STEPS`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.resumed_at = 0
        self.has_begun = False
        self.before: list[dict] = []

    def on_train_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.resumed_at, self.has_begun = state.global_step, True
        if state.is_world_process_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in read_metrics(self.path) if _stays(line, state.global_step)]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in [*kept, *self.before]))
            self.before = []

    def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
        if state.is_world_process_zero and logs:
            kept = {name: value for name, value in logs.items() if not (self.resumed_at and name in OF_ALL_STEPS)}
            line = {"step": state.global_step, **kept}
            if not self.has_begun:
                self.before.append(line)
                return
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _stays(line: dict, resumed_at: int) -> bool:
    return 0 < resumed_at >= line["step"] and "train_runtime" not in line


def read_metrics(path: str | Path) -> list[dict]:
    """Return the lines of a metrics file without a last line that a kill cut off; [] for a missing file."""
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
