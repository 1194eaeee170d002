"""Killed at random points ten times and started again: samples, scores and results of an undisturbed run."""

from __future__ import annotations

import pytest

from tests.evaluate.kills import command, killed, scripted
from tests.evaluate.test_run import contents


def test_scripted(tmp_path):
    scripted(tmp_path / "whole", tmp_path / "whole.log")
    log = tmp_path / "log"
    kills = killed(scripted, tmp_path / "cut", log, times=10, longest=0.5, folder=tmp_path / "cut")
    assert kills >= 3
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert set(log.read_text().split()) == {str(index) for index in range(12)}


@pytest.mark.slow
def test_the_shipped_policy(tmp_path):
    """The command itself, with a real model and the task's verifier."""
    options = dict(model="quickstart", benchmarks="quickstart", limit=12, samples=4, batch_size=8, device="cpu")

    def call(name: str) -> list:
        words = [f"--{key}={value}" for key, value in {**options, "output_dir": tmp_path / name}.items()]
        return [command, ["eval", *words], tmp_path / f"{name}.log"]

    killed(*call("whole"), times=0, longest=0, folder=tmp_path / "whole")
    kills = killed(*call("cut"), times=10, longest=3.0, folder=tmp_path / "cut")
    assert kills >= 3
    without_lock = [{k: v for k, v in contents(tmp_path / name).items() if k != ".lock"} for name in ("cut", "whole")]
    assert without_lock[0] == without_lock[1]
