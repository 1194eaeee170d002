"""`make gpu` in rehearsal: its stages on a CPU at tiny sizes, killed in the middle, and the model that it carries."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import runpy
import sys
import time
from contextlib import redirect_stdout
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import step_overhead
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import kernels, stages
from benchmarks.gpu.carry import WEIGHTS, join_model, split_model
from benchmarks.results import read_rows
from benchmarks.sizes import REHEARSAL_SIZES
from echorl.lab import jobs
from echorl.models import POLICY
from echorl.support.errors import USER, UserError, guard
from tests import processes


def test_the_carried_model_has_its_matrices_in_bf16_and_the_rest_as_it_was(tmp_path):
    split_model(POLICY, tmp_path / "parts")
    assert [path.name for path in sorted((tmp_path / "parts").iterdir())] == ["part-1", "part-2", "part-3"]
    join_model(tmp_path / "parts", tmp_path / "model")
    joined = load_file(tmp_path / "model" / WEIGHTS)
    for name, value in load_file(POLICY / WEIGHTS).items():
        is_rounded = value.dim() == 2 and "embed" not in name
        assert torch.equal(joined[name], value.bfloat16().float() if is_rounded else value)
    (tmp_path / "parts" / "part-2").unlink()
    with pytest.raises(UserError, match="has no part-2"):
        join_model(tmp_path / "parts", tmp_path / "other")


def test_the_loop_without_trl_measures_both():
    row = kernels.loop(REHEARSAL_SIZES["tiny"], 1, "cpu")
    assert row["batch_s_off"] > 0 < row["batch_s_on"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="is for machines without a GPU")
def test_without_a_gpu_it_says_so(capsys, tmp_path):
    assert guard(lambda: gpu.main(["--output", str(tmp_path)])) == USER
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_killed_rehearsal_goes_on(tmp_path):
    split_model(POLICY, tmp_path / "carried" / "model")
    words = ["--rehearse", "--output", str(tmp_path / "rows"), "--carried", str(tmp_path / "carried")]
    words += ["--minutes", "999", "--seconds", *(f"{stage}=9999" for stage in stages.STAGES)]
    of_a_run = f"{tmp_path}/rows/gpu-study/*/*/*/run.json"
    process = processes.start(rehearse, words, tmp_path / "log", of_a_run)
    while not glob(of_a_run):
        assert process.is_alive(), (tmp_path / "log").read_text()
        time.sleep(0.05)
    process.kill()
    process.join()
    files = {stage: tmp_path / "rows" / f"gpu-{stage}.csv" for stage in stages.STAGES}
    before = {stage: path.read_bytes() for stage, path in files.items() if stage != "study"}
    processes.whole(rehearse, words, tmp_path / "log")
    assert {stage: files[stage].read_bytes() for stage in before} == before
    assert (tmp_path / "log").read_text().count("finished before") == 3
    for stage, path in files.items():
        rows = read_rows(path)
        assert {row["name"] for row in rows} == stages.rows_of(stage, rehearse=True)
        assert all(row["command"] == " ".join(["python -m benchmarks.gpu", *words]) and row["device"] for row in rows)
    assert (tmp_path / "rows" / "gpu-study.jsonl.gz").exists()


def rehearse(words: list[str], log: Path, stop_at: str | None = None) -> None:
    """Run the command; its processes are forked, since new ones would take seconds for their imports.

    A run of the study stops for ever once there is a file of the pattern `stop_at`.
    """
    processes._write_to(log)
    gpu.start = lambda arguments, log: Forked("stages", *arguments, log=log)
    stages.spawn = Forked
    step_overhead.in_process = in_this_process
    jobs._start = partial(processes._fork, stop_at)
    os._exit(gpu.main(words))


class Forked(processes.Forked):
    """A process that runs a module, in place of `subprocess.Popen`."""

    def __init__(self, module: str, *words: str, log: Path | None = None) -> None:
        super().__init__(multiprocessing.get_context("fork").Process(target=_run, args=(module, words, log)))
        self.process.start()
        self.pid = self.process.pid


def _run(module: str, words: tuple[str, ...], log: Path | None) -> None:
    sys.argv = [module, *words]
    if log is None:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        os.setsid()
        processes._write_to(log)
        stages.main()


def in_this_process(quantity: str, name: str, place: Any, *options: str) -> Any:
    with redirect_stdout(io.StringIO()) as output:
        step_overhead.main([f"--{quantity}", name, "--device", place.device, "--engine", place.engine, *options])
    return json.loads(output.getvalue().splitlines()[-1])
