"""Killed at random points ten times and started again: samples, scores and results of an undisturbed run."""

from __future__ import annotations

import pytest

from tests.lab.evaluate.kills import killed, scripted
from tests.lab.evaluate.test_run import contents
from tests.processes import command, whole


def test_scripted(tmp_path):
    log = tmp_path / "log"
    whole(scripted, tmp_path / "whole", tmp_path / "whole.log")
    kept = killed(scripted, tmp_path / "cut", log, folder=tmp_path / "cut", chunks=12, longest=0.03)
    assert len(set(kept)) >= 5
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert set(log.read_text().split()) == {str(index) for index in range(12)}


@pytest.mark.slow
def test_the_shipped_policy(tmp_path):
    """The command itself, with a real model and the task's verifier."""
    options = dict(model="quickstart", benchmarks="quickstart", limit=24, samples=4, batch_size=4, device="cpu")

    def call(name: str) -> list:
        words = [f"--{key}={value}" for key, value in {**options, "output_dir": tmp_path / name}.items()]
        return [command, ["eval", *words], tmp_path / f"{name}.log"]

    whole(*call("whole"))
    kept = killed(*call("cut"), folder=tmp_path / "cut", chunks=24, longest=0.03)
    assert len(set(kept)) >= 5
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
