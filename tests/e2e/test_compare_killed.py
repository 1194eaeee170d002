"""A comparison that is killed and taken up again gives the undisturbed one's tables."""

from __future__ import annotations

import json
import signal
import time
from glob import glob
from pathlib import Path

import pytest
import yaml

from tests.e2e.test_compare import write
from tests.processes import command, start, whole


@pytest.mark.slow
def test_killed_at_four_points_a_grid_and_its_runs_end_in_the_same_tables(tmp_path):
    quiet, killed = (make_study(tmp_path / name) for name in ("quiet", "killed"))
    whole(command, ["compare", str(quiet)], tmp_path / "log")
    runs = killed.parent / "study"
    kill_at(killed, f"{runs}/*/*/seed-1000/policy/checkpoint-1")  # the grid, in training
    kill_at(killed, f"{runs}/*/*/seed-1000/scores-validation.json")
    kill_at(killed, f"{runs}/*/*/seed-0/policy/checkpoint-1")  # a final run, in training
    kill_at(killed, f"{runs}/*/*/seed-0/scores-test.json")
    assert not (runs / "results.json").exists()
    whole(command, ["compare", str(killed)], tmp_path / "log")
    assert numbers(runs) == numbers(quiet.parent / "study")


def make_study(folder: Path) -> Path:
    folder.mkdir()
    study = write(folder, seeds=[0], grid_seeds=[1000], tests=["test", "harder"])
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "save_steps": 1}))
    return study


def kill_at(study: Path, pattern: str) -> None:
    """Start the comparison, whose workers stop once there is such a file, and kill it there; they end with it."""
    log = study.with_name("log")
    process = start(command, ["compare", str(study)], log, pattern)
    while not glob(pattern):
        assert process.is_alive(), log.read_text()
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def numbers(folder: Path) -> dict:
    """Return the results without the minutes of the training."""
    results = json.loads((folder / "results.json").read_text())
    del results["tests"]["training"]["minutes"]
    return results
