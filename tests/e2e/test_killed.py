"""kill -9 at random moments of `train`, `probe`, `report` and `compare`: the same command then ends as undisturbed.

ECHORL_TEST_KILLS says how often each is killed: once in `make test`, twenty times in `make test-kill`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from echorl.support.folder import contents
from tests.cli.conftest import save_model
from tests.cli.test_train import curves, same, weights
from tests.e2e.test_compare_killed import make_study, numbers
from tests.lab.report import made
from tests.processes import command, start, whole

KILLS = int(os.environ.get("ECHORL_TEST_KILLS", "1"))
REWARDS = Path(__file__).parents[1] / "cli" / "rewards.py"
RECIPE = {
    "num_generations": 4, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "num_iterations": 2,
    "max_completion_length": 12, "max_steps": 4, "logging_steps": 1, "save_steps": 1, "save_total_limit": 2,
    "learning_rate": 1e-3, "echo_coef": 0.1, "echo_rollouts_every": 1, "bf16": False, "use_cpu": True,
    "activation_checkpointing": False, "dataloader_pin_memory": False, "report_to": "none",
}  # fmt: skip


def check(call: Callable[[Path], list[str]], result: Callable[[Path], Any], tmp_path: Path) -> None:
    """Let the command end undisturbed; then kill it `KILLS` times, each time after at most the time that it took.

    The command that follows a kill goes on in its folder. One that comes to its end, and the last, must have the
    result of the undisturbed one; then the next begins in an empty folder.

    Args:
        call: the words of the command, for a folder to write to.
        result: what must be equal, from the folder.
    """
    rng, log, folder = random.Random(0), tmp_path / "log", tmp_path / "killed"
    began = time.monotonic()
    whole(command, call(tmp_path / "whole"), log)
    seconds, wanted, killed = time.monotonic() - began, result(tmp_path / "whole"), 0
    while killed < KILLS:
        process = start(command, call(folder), log)
        process.join(rng.uniform(0, seconds))
        was_alive = process.is_alive()
        process.kill()
        process.join()
        killed += was_alive
        if not was_alive:
            assert process.exitcode == 0, log.read_text()
            assert result(folder) == wanted
            shutil.rmtree(folder)
    whole(command, call(folder), log)
    assert result(folder) == wanted


def test_train(tmp_path):
    rows, recipe = tmp_path / "rows.jsonl", tmp_path / "recipe.yaml"
    rows.write_text("".join(json.dumps({"prompt": f"{i}+{i}=?\n"}) + "\n" for i in range(24)))
    data = {"train_file": str(rows), "reward_funcs": [f"{REWARDS}:some_right"]}
    recipe.write_text(yaml.safe_dump({**RECIPE, **data, "model_name_or_path": str(save_model(tmp_path / "model"))}))

    def call(folder):
        return ["train", "--config", str(recipe), "--output_dir", str(folder), "--resume_from_checkpoint", "true"]

    check(call, trained, tmp_path)


def trained(run: Path) -> Any:
    """All that a run leaves, without clocks; weights bit for bit."""
    stored = {path.name: pq.read_table(path).to_pylist() for path in sorted((run / "rollouts").iterdir())}
    saved = {path: Weights(weights(run / path)) for path in (".", "checkpoint-3", "checkpoint-4")}
    return contents(run), curves(run), str(stored), saved


class Weights:
    """Tensors by name, equal if all their numbers are."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.tensors = tensors

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weights) and same(self.tensors, other.tensors)

    __hash__ = None  # type: ignore[assignment]


def test_probe(tmp_path):
    options = dict(model="quickstart", benchmark="quickstart", prompts=5, samples=4, max_new_tokens=40)
    options |= dict(baseline_samples=2, batch_size=4, projection=256, device="cpu")

    def call(folder):
        return ["probe", *(f"--{name}={value}" for name, value in {**options, "output_dir": folder}.items())]

    def result(folder):
        return (folder / "probe.json").read_text(), contents(folder), contents(folder / "parts")

    check(call, result, tmp_path)


def test_report(tmp_path):
    run = made.make_run(tmp_path / "run")
    made.dump(run, made.group_rows(0, 0))

    def call(folder):
        return ["report", str(run), "--output", str(folder / "page.html"), "--png"]

    def result(folder):
        return {name: (folder / name).read_bytes() for name in contents(folder)}

    check(call, result, tmp_path)


@pytest.mark.skipif(KILLS < 20, reason="takes minutes: `make test-kill`")
def test_compare(tmp_path):
    study = make_study(tmp_path / "study")

    def call(folder):
        return ["compare", str(study), "--output_dir", str(folder)]

    check(call, numbers, tmp_path)
