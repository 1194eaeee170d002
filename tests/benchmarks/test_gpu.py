"""`make gpu` in rehearsal: its stages on a CPU at tiny sizes, killed in the middle, and the model that it carries."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
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
from echorl.support.folder import LOCK
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


def settings_in(folder: Path, seconds: float) -> stages.Settings:
    return stages.Settings(folder, POLICY, time.time() + seconds, 1, rehearse=True, command="")


@pytest.mark.parametrize(
    ("script", "seconds", "state"),
    [
        ("echo begin; echo no memory >&2; exit 1", 30, "failed after .* s\n    begin\n    no memory"),
        ("kill -9 $$", 30, "failed after"),
        ("echo half", 30, "not finished after .* s; the same command goes on\n    half"),
        ("exec sleep 60", 0, "stopped at its time limit after .* s; the same command goes on"),
    ],
)
def test_a_stage_failed_unless_its_process_ended_well_or_at_its_limit(tmp_path, monkeypatch, script, seconds, state):
    def start(arguments: list[str], log: Path) -> Any:
        with log.open("wb") as file:
            return subprocess.Popen(["sh", "-c", script], stdout=file, stderr=file, start_new_session=True)

    monkeypatch.setattr(gpu, "start", start)
    assert re.fullmatch(f"{state}.*", gpu.run_stage("step", settings_in(tmp_path, seconds), tmp_path / "log"))


@pytest.mark.parametrize(("words", "code"), [(["sleep", "60"], 0), (["false"], 1)])
def test_only_its_own_deadline_excuses_the_study(tmp_path, monkeypatch, words, code):
    monkeypatch.setattr(stages, "write_study", lambda *_: tmp_path)
    monkeypatch.setattr(stages, "spawn", lambda *_: subprocess.Popen(words))
    with pytest.raises(SystemExit) as exit_of:
        stages.run_study(settings_in(tmp_path, stages.SECONDS_TO_PACK + 60 * code))
    assert exit_of.value.code == code


def test_without_wheels_and_model_every_stage_begins_and_the_study_names_the_missing_part(
    tmp_path, monkeypatch, capsys
):
    split_model(POLICY, tmp_path / "model")
    (tmp_path / "model" / "part-2").unlink()
    for name in ("PYTHONPATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", "false")  # in place of a pip that fails
    begun: dict[str, stages.Settings] = {}
    monkeypatch.setattr(gpu, "run_stage", lambda stage, settings, log: begun.update({stage: settings}) or "finished")
    assert gpu.main(["--rehearse", "--carried", str(tmp_path), "--output", str(tmp_path / "rows")]) == 1
    assert "pip could not install" in capsys.readouterr().out
    assert list(begun) == ["tests", "kernels", "step", "study"]
    monkeypatch.setattr(sys, "argv", ["stages", "study", json.dumps(asdict(begun["study"]), default=str), "0"])
    monkeypatch.setattr(stages, "end_group_with", lambda parent: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SystemExit, match=str(USER)):
        stages.main()
    assert re.fullmatch("echorl: error: .* has no part-2: .*\n", capsys.readouterr().err)


def test_a_call_measures_one_size_of_the_step(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "REHEARSAL_SIZES", dict.fromkeys(("large", "small")))
    monkeypatch.setattr(step_overhead, "measure", lambda name, *_: {"config": name})
    for measured in ({"large"}, {"large", "small"}):
        with pytest.raises(SystemExit, match="0"):
            stages.run_step(settings_in(tmp_path, 60))
        assert settings_in(tmp_path, 0).measured("step") == measured


def test_a_first_call_leaves_the_study_five_minutes():
    before = sum(seconds for stage, seconds in gpu.SECONDS.items() if stage != "study")
    assert 9 * 60 - gpu.RESERVE - before - stages.SECONDS_TO_PACK >= 5 * 60


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
    with FileLock(tmp_path / "rows" / "gpu-study" / LOCK, timeout=60):
        pass  # the study's processes have ended
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
