"""Jobs in processes: all are run, failures are named, none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echorl import processes
from echorl.processes import Job, run_jobs

STANDIN = """
import os, sys, time
from pathlib import Path
from echorl.processes import end_with_parent

what, folder, parent = sys.argv[1:]
end_with_parent(int(parent))
Path(folder, f"{what}.pid").write_text(str(os.getpid()))
if what == "fail":
    raise SystemExit("no memory left")
time.sleep(60 if what == "sleep" else 0)
"""


@pytest.fixture(autouse=True)
def _standin(tmp_path, monkeypatch):
    (tmp_path / "standin.py").write_text(STANDIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.05)


def job(what: str, folder: Path, name: str = "GRPO") -> Job:
    return Job(what, name, "standin", (what, str(folder)), folder / f"{what}.log")


def wait_for(path: Path) -> int:
    for _ in range(400):
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
    assert {p.name for p in tmp_path.glob("*.*")} == {"standin.py", "one.pid", "two.pid"}


def test_a_job_that_fails_is_named_with_its_last_words_and_the_others_are_ended(tmp_path):
    with pytest.raises(RuntimeError, match=r"GRPO failed \(exit code 1\): no memory left \(all of it: .*fail.log\)"):
        run_jobs([job("sleep", tmp_path, "x"), job("fail", tmp_path)], parallel=2)
    pid = tmp_path / "sleep.pid"
    assert not pid.exists() or not is_alive(int(pid.read_text()))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_a_job_ends_when_its_parent_is_killed(tmp_path):
    code = f"""
from pathlib import Path
from echorl.processes import Job, run_jobs
folder = Path({str(tmp_path)!r})
run_jobs([Job("sleep", "x", "standin", ("sleep", str(folder)), folder / "log")], parallel=1)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = wait_for(tmp_path / "sleep.pid")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not is_alive(child):
            return
        time.sleep(0.1)
    raise AssertionError("the job outlived its parent")
