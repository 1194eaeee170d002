"""A comparison that is killed and taken up again gives the undisturbed one's tables."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from echorl.cli import main
from tests.e2e.test_compare import write

SECONDS = 120
"""After which a wait is a failure."""


@pytest.mark.slow
def test_killed_at_four_points_a_grid_and_its_runs_end_in_the_same_tables(tmp_path):
    quiet, killed = (make_study(tmp_path / name) for name in ("quiet", "killed"))
    assert main(["compare", str(quiet)]) == 0
    runs = killed.parent / "study"
    kill_when(killed, lambda: any(runs.glob("*/*/seed-1000/policy/checkpoint-1")))  # the grid, in training
    kill_when(killed, lambda: any(runs.glob("*/*/seed-1000/scores-validation.json")))
    kill_when(killed, after(random.Random(0).uniform(4, 9)))  # wherever it is by then
    kill_when(killed, lambda: any(runs.glob("*/*/seed-0/scores-test.json")))
    assert not (runs / "results.json").exists()
    assert main(["compare", str(killed)]) == 0
    assert numbers(runs) == numbers(quiet.parent / "study")


def make_study(folder: Path) -> Path:
    folder.mkdir()
    study = write(folder, seeds=[0], grid_seeds=[1000], tests=["test", "harder"])
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "save_steps": 1}))
    return study


def kill_when(study: Path, reached: Callable[[], bool]) -> None:
    """Start the comparison, and kill it as soon as it got so far; its workers end with it."""
    command = [sys.executable, "-m", "echorl", "compare", str(study)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + SECONDS
    while not reached():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


def numbers(folder: Path) -> dict:
    """All but how long it took."""
    found = json.loads((folder / "results.json").read_text())
    del found["tests"]["training"]["minutes"]
    return found
