"""Jobs in processes: all are run, failures are named, none is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echorl.lab import jobs
from echorl.lab.jobs import Job, JobsFailed, Silent, least_busy, run_jobs, visible_gpus

STANDIN = """
import os, sys, time
from pathlib import Path
from echorl.lab.jobs import end_with_parent

what, folder, parent = sys.argv[1:]
end_with_parent(int(parent))
Path(folder, f"{what}.pid").write_text(str(os.getpid()))
Path(folder, f"{what}.gpu").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
if what == "killed":
    print("Loading weights: 100%")
    os.kill(os.getpid(), 9)
if what == "fail":
    raise SystemExit("no memory left")
time.sleep(3600 if what == "sleep" else 0)
"""


@pytest.fixture(autouse=True)
def _standin(tmp_path, monkeypatch):
    (tmp_path / "standin.py").write_text(STANDIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.05)


def job(what: str, folder: Path, name: str = "GRPO") -> Job:
    return Job(what, name, "standin", (what, str(folder)), folder / f"{what}.log")


def wait_for(path: Path) -> int:
    for _ in range(12_000):
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_all_are_run_and_leave_no_log(tmp_path):
    run_jobs([job("one", tmp_path), job("two", tmp_path)], parallel=1)
    assert {p.name for p in tmp_path.glob("*.*")} == {
        "standin.py", "one.pid", "two.pid", "one.gpu", "two.gpu",
    }  # fmt: skip


def test_a_job_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(JobsFailed, match=r"^GRPO failed \(exit code 1\): no memory left \(all of it: .*fail.log\)$"):
        run_jobs([job("fail", tmp_path)], parallel=1)


def test_a_job_that_is_killed_is_named_with_its_signal(tmp_path):
    with pytest.raises(JobsFailed, match=r"^GRPO was ended by signal 9 \(Killed; its output: .*killed.log\)$"):
        run_jobs([job("killed", tmp_path)], parallel=1)


def test_the_other_jobs_finish_and_all_failures_are_named(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    said: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda self, text: said.append(text))
    jobs = [job("fail", tmp_path, "a"), job("one", tmp_path), job("fail", tmp_path / "b", "b"), job("two", tmp_path)]
    with pytest.raises(JobsFailed, match=r"^2 of 4 failed: a failed .*/fail.log\); b failed .*/b/fail.log\)$"):
        run_jobs(jobs, parallel=1)
    assert [re.sub("/.*/", "", text) for text in said] == [
        f"{name} failed (exit code 1): no memory left (all of it: fail.log); the others go on." for name in "ab"
    ]
    assert (tmp_path / "one.pid").exists()
    assert (tmp_path / "two.pid").exists()


def test_an_exception_ends_what_runs(tmp_path):
    class Interrupting:
        def begin(self, text, total, done, note):
            def bar(done):
                wait_for(tmp_path / "sleep.pid")
                raise KeyboardInterrupt

            return bar

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job("sleep", tmp_path)], parallel=1, view=Interrupting())
    assert not is_alive(int((tmp_path / "sleep.pid").read_text()))


def test_each_job_sees_one_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    run_jobs([job("one", tmp_path), job("two", tmp_path)], parallel=2, gpus=visible_gpus())
    assert {(tmp_path / f"{name}.gpu").read_text() for name in ("one", "two")} == {"4", "6"}


def test_without_gpus_the_variable_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    run_jobs([job("one", tmp_path)], parallel=1)
    assert (tmp_path / "one.gpu").read_text() == "all"


def test_gpus_are_taken_in_turn():
    gpus, taken = ["0", "1", "2"], []
    for _ in range(5):
        taken.append(least_busy(gpus, taken))
    assert taken == ["0", "1", "2", "0", "1"]
    assert least_busy(gpus, ["0", "2"]) == "1"


def test_which_gpus_there_are(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-a)'\necho 'GPU 1: B (UUID: GPU-b)'\n")
    program.chmod(0o755)
    assert visible_gpus() == ["0", "1"]
    for given, found in (("", []), ("-1", []), ("3", ["3"]), ("GPU-b, GPU-a", ["GPU-b", "GPU-a"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert visible_gpus() == found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_a_job_ends_when_its_parent_is_killed(tmp_path):
    code = f"""
from pathlib import Path
from echorl.lab.jobs import Job, run_jobs
folder = Path({str(tmp_path)!r})
run_jobs([Job("sleep", "x", "standin", ("sleep", str(folder)), folder / "log")], parallel=1)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = wait_for(tmp_path / "sleep.pid")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(6000):
        if not is_alive(child):
            return
        time.sleep(0.1)
    raise AssertionError("the job outlived its parent")
