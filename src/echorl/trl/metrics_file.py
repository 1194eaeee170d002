"""`metrics.jsonl`: every logged value, one JSON object a line, for any `report_to`."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import TrainerCallback

from echorl.support.files import write_text


class MetricsFile(TrainerCallback):
    """Appends every log of the main process, with the run's seed, to `path`, but for the Trainer's summary.

    A line is flushed at once. The summary comes after the last checkpoint and tells times alone: a run that is killed
    between the two is complete, and nobody would write it. The last step is therefore logged whatever `logging_steps`
    is, or the means since the last log would stand in the summary; add this callback after those that end a run. The
    file is of one run and begins with its training, or with an evaluation just before that. A resumed run first removes
    the lines after its checkpoint's step, so that no line stands twice.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.has_begun = False
        self.before: list[dict] = []

    def on_train_begin(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.has_begun = True
        if state.is_world_process_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            resumed_at = state.global_step  # 0: nothing is resumed
            kept = [line for line in read_metrics(self.path) if 0 < resumed_at >= line["step"]]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in [*kept, *self.before]))
            self.before = []

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        if control.should_training_stop:
            control.should_log = True

    def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
        if state.is_world_process_zero and logs and "train_loss" not in logs:
            line = {"step": state.global_step, "seed": args.seed, **logs}
            if not self.has_begun:
                self.before.append(line)
                return
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def read_metrics(path: str | Path) -> list[dict]:
    """Return the lines of a metrics file without a last line that a kill cut off; [] for a missing file."""
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
