from __future__ import annotations

import multiprocessing
import os
import re
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from echorl.support.installed import install_command
from echorl.tasks.verify import process, start, watch, worker, worker_gym
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.process import Outcome, Worker
from echorl.tasks.verify.watch import Watch

TOWER = ("24", "9^{9^{9^9}}")
HALF = ("24", "48/2")
SCRIPT = """
from echorl.tasks import load_task
verifier = load_task("gsm8k", timeout=0.5).verifier
print(verifier(completions=["#### 48/2", "#### 9^{9^{9^9}}"], answer=["24", "24"]))
"""
LATE = """
import threading
from echorl.tasks import load_task
verifier = load_task("gsm8k", timeout=60).verifier
def grade():
    threading.main_thread().join()
    print(verifier(completions=["#### 48/2"], answer=["24"]))
threading.Thread(target=grade).start()
"""
ORPHAN = """
import os, signal, sys, threading, time
from tests.tasks.verify.test_pool import make_fake_pool
pool = make_fake_pool()
pool.call_each("value", [(1,)], timeout=30)
if sys.argv[1] == "working":
    path = os.path.abspath("holding")
    threading.Thread(target=pool.call_each, args=("hold", [(path,)]), kwargs={"timeout": 600}).start()
    while not os.path.exists(path):
        time.sleep(0.01)
print(pool._workers[0]._started.process.pid, flush=True)
if os.fork() == 0:
    os.close(1)
    signal.pause()  # holds the pipes of a parent that is gone
os.kill(os.getpid(), signal.SIGKILL)
"""
Calls = Iterator[tuple[str, Outcome]]
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool("math_verify", num_workers=2)
    yield made
    made.close()


def make_fake_pool(script: Path = FAKE_WORKER) -> Pool:
    """One worker with the functions of `fake_worker`, which starts in no time."""
    pool = Pool("json", num_workers=1, cache_size=0)
    pool._workers[0]._command = [sys.executable, str(script), process.SCRIPT, str(2**28)]
    return pool


@pytest.fixture(scope="module")
def fake_pool() -> Iterator[Pool]:
    made = make_fake_pool()
    yield made
    made.close()


def wait_for(happened: Callable[[], bool], seconds: float = 600.0) -> bool:
    end = time.monotonic() + seconds
    while not happened() and time.monotonic() < end:
        time.sleep(0.05)
    return happened()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(pool: Pool) -> list[int]:
    return [worker._started.process.pid for worker in pool._workers if worker._started is not None]


def test_results_come_in_order(pool: Pool) -> None:
    rows = [("24", f"{n}/2") for n in range(44, 52)]
    assert pool.call_each("math_equal", rows, timeout=30) == [Outcome(n == 48) for n in range(44, 52)]
    assert pool.call_each("math_equal", [], timeout=30) == []


def test_late_calls_name_the_reason_and_other_calls_go_on(pool: Pool) -> None:
    rows = [TOWER, HALF, TOWER, ("24", "23 apples")]
    outcomes = pool.call_each("math_equal", rows, timeout=1.0)
    assert outcomes == [Outcome(None, "timeout"), Outcome(True), Outcome(None, "timeout"), Outcome(False)]


def test_a_grader_that_raises_names_the_exception(pool: Pool) -> None:
    assert pool.call_each("latex_value", [(3, 4)], timeout=30) == [Outcome(None, "error TypeError")]
    assert pool.call_each("no_such_function", [()], timeout=30) == [Outcome(None, "error KeyError")]
    assert pool.call_each("latex_value", [("3/4",)], timeout=30) == [Outcome(0.75)]


@linux
def test_a_dead_worker_is_replaced() -> None:
    pool = Pool("math_verify", num_workers=1)
    assert pool.call_each("math_equal", [HALF], timeout=30) == [Outcome(True)]
    os.kill(pids(pool)[0], signal.SIGKILL)
    rows = [("24", f"{24 * n}/{n}") for n in range(10, 14)]
    assert pool.call_each("math_equal", rows, timeout=30) == [Outcome(True)] * 4
    pool.close()


@linux
def test_memory_is_limited() -> None:
    """2^(2^32) has half a gigabyte: more than the limit, and with it the worker would be replaced."""
    pool = Pool("math_verify", num_workers=1, memory_limit=2**28)
    answers = pool.call_each("latex_value", [("2^{4294967296}",), ("2^{10}",)], timeout=30)
    assert answers[1] == Outcome(1024.0)
    peak = next(line for line in Path(f"/proc/{pids(pool)[0]}/status").read_text().splitlines() if "VmHWM" in line)
    assert int(peak.split()[1]) < 400_000
    pool.close()


def test_equal_calls_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def call_each(self: Worker, requests: Iterable[str], *, timeout: float) -> Calls:
        for request in requests:
            calls.append(request)
            yield request, Outcome(None, "timeout") if "late" in request else Outcome(len(calls))

    monkeypatch.setattr(Worker, "call_each", call_each)
    pool = Pool("math_verify", num_workers=1, cache_size=2)
    assert [o.value for o in pool.call_each("f", [("a",), ("b",), ("a",)], timeout=1)] == [1, 2, 1]
    assert [o.value for o in pool.call_each("f", [("a",), ("c",)], timeout=1)] == [1, 3]  # b was used longest ago
    assert [o.value for o in pool.call_each("f", [("b",), ("c",)], timeout=1)] == [4, 3]
    assert [o.reason for o in pool.call_each("f", [("late",)] * 2, timeout=1)] == ["timeout"] * 2
    pool.call_each("f", [("late",)], timeout=1)
    assert len(calls) == 6  # a time-out is tried again


def test_a_call_that_ends_its_worker_twice_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other calls are not lost."""

    def call_each(self: Worker, requests: Iterable[str], *, timeout: float) -> Calls:
        for request in requests:
            yield request, Outcome(None, "died") if "bad" in request else Outcome(1.0)
            if "bad" in request:
                return

    monkeypatch.setattr(Worker, "call_each", call_each)
    rows = [(n, "bad") if n in (3, 4, 40) else (n,) for n in range(60)]
    for num_workers in (1, 3):
        outcomes = Pool("math_verify", num_workers=num_workers).call_each("f", rows, timeout=1)
        assert [outcome.reason for outcome in outcomes] == ["died" if len(row) > 1 else "" for row in rows]


def test_an_error_of_the_pool_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def call_each(self: Worker, requests: Iterable[str], *, timeout: float) -> Calls:
        raise RuntimeError("no more processes")

    monkeypatch.setattr(Worker, "call_each", call_each)
    with pytest.raises(RuntimeError, match="no more processes"):
        Pool("math_verify", num_workers=2).call_each("f", [(n,) for n in range(1000)], timeout=1)


def test_an_interrupted_call_leaves_no_reply_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool("math_verify", num_workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(process, "json", SimpleNamespace(loads=interrupt))
        with pytest.raises(KeyboardInterrupt):
            pool.call_each("latex_value", [("1",), ("2",)], timeout=30)
    assert pool.call_each("latex_value", [("3",), ("4",)], timeout=30) == [Outcome(3.0), Outcome(4.0)]
    pool.close()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_too_much_memory_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry() -> None:
        raise MemoryError

    monkeypatch.setattr(worker, "FUNCTIONS", {"hungry": hungry, "set": lambda: {1}})
    assert worker._answer({"function": "hungry", "arguments": []}) == (None, "memory")
    assert worker._answer({"function": "set", "arguments": []})[1] == "error TypeError"  # not JSON


def test_any_thread_may_call(pool: Pool) -> None:
    results: list[list[Outcome]] = []

    def call(n: int) -> None:
        results.append(pool.call_each("math_equal", [("24", f"{24 * n}/{n}")], timeout=30))

    threads = [threading.Thread(target=call, args=(n,)) for n in range(100, 106)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[Outcome(True)]] * 6


def grade_in_a_child(results: multiprocessing.Queue) -> None:
    results.put(shared_pool("math_verify").call_each("math_equal", [HALF, TOWER], timeout=1.0))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_daemonic_child_process_may_call(method: str) -> None:
    """The workers of Ray and DataLoader are daemonic; a forked one may have a parent that holds the pool's lock."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    assert shared_pool("math_verify").call_each("math_equal", [HALF], timeout=30) == [Outcome(True)]
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=grade_in_a_child, args=(results,), daemon=True)
    with shared_pool("math_verify")._lock:
        child.start()
    assert results.get(timeout=600) == [Outcome(True), Outcome(None, "timeout")]
    child.join(timeout=600)
    assert child.exitcode == 0
    assert shared_pool("math_verify").call_each("math_equal", [("24", "72/3")], timeout=30) == [Outcome(True)]


def test_a_script_without_a_main_guard_runs_once_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout == "[1.0, 0.0]\n"
    assert done.stderr == ""


def test_a_thread_may_grade_when_the_main_thread_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(LATE)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout == "[1.0]\n"
    assert done.stderr == ""


def test_a_request_may_be_larger_than_a_pipe(fake_pool: Pool) -> None:
    long = "x" * 2**20
    assert fake_pool.call_each("value", [(long,), (1,)], timeout=30) == [Outcome(long), Outcome(1)]


@linux
def test_a_worker_that_does_not_read_ends_with_its_call(fake_pool: Pool) -> None:
    fake_pool.call_each("value", [(1,)], timeout=30)
    os.kill(pids(fake_pool)[0], signal.SIGSTOP)
    assert fake_pool.call_each("value", [("x" * 2**20,)], timeout=0.03) == [Outcome(None, "timeout")]


@linux
def test_close_ends_the_workers_and_a_call_starts_new_ones() -> None:
    pool = Pool("math_verify", num_workers=1)
    pool.call_each("math_equal", [HALF], timeout=30)
    old = pids(pool)
    pool.close()
    assert not is_alive(old[0])
    assert pool.call_each("math_equal", [("24", "72/3")], timeout=30) == [Outcome(True)]
    assert pids(pool) != old
    pool.close()


@linux
@pytest.mark.parametrize("worker_is", ["idle", "working"])
def test_workers_end_with_a_killed_parent(tmp_path: Path, worker_is: str) -> None:
    """Even if a process that the parent forked holds their pipes open, and in C code that lets no thread run."""
    path = tmp_path / "script.py"
    path.write_text(ORPHAN)
    root = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, path, worker_is]
    options = {"text": True, "start_new_session": True, "env": root, "cwd": tmp_path}
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    try:
        pid = int(parent.stdout.readline())
        assert parent.wait(timeout=600) == -signal.SIGKILL
        assert wait_for(lambda: not is_alive(pid))
    finally:  # else a failure leaves the forked process behind
        os.killpg(parent.pid, signal.SIGKILL)
        parent.stdout.close()


@linux
def test_a_worker_outlives_the_thread_that_started_it() -> None:
    pool = make_fake_pool()
    thread = threading.Thread(target=pool.call_each, args=("value", [(1,)]), kwargs={"timeout": 30})
    thread.start()
    thread.join()
    started = pids(pool)
    assert pool.call_each("value", [(2,)], timeout=30) == [Outcome(2)]
    assert pids(pool) == started
    pool.close()


@linux
def test_a_worker_that_gets_no_cpu_time_is_not_late(fake_pool: Pool) -> None:
    """It is stopped for longer than the call's limit, as on a machine that does other work."""
    fake_pool.call_each("value", [(1,)], timeout=30)
    (pid,) = pids(fake_pool)
    os.kill(pid, signal.SIGSTOP)
    later = threading.Timer(1.0, os.kill, (pid, signal.SIGCONT))
    later.start()
    assert fake_pool.call_each("value", [(2,)], timeout=0.3) == [Outcome(2)]
    later.join()
    assert pids(fake_pool) == [pid]


@linux
def test_a_worker_that_never_gets_cpu_time_ends_with_its_call(fake_pool: Pool) -> None:
    fake_pool.call_each("value", [(1,)], timeout=30)
    os.kill(pids(fake_pool)[0], signal.SIGSTOP)
    assert fake_pool.call_each("value", [(3,)], timeout=0.03) == [Outcome(None, "timeout")]
    assert fake_pool.call_each("sleep", [(600,)], timeout=0.03) == [Outcome(None, "timeout")]
    assert fake_pool.call_each("value", [(4,)], timeout=30) == [Outcome(4)]


@linux
def test_cpu_time_is_limited_in_c_code(fake_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's own timer ends the call, although the parent ignores and blocks its signal."""
    monkeypatch.setattr(process, "WALL_FACTOR", 10_000)
    fake_pool.close()
    handler = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
    try:
        rows = [("power",), ("value", 1)]
        outcomes = [fake_pool.call_each(name, [arguments], timeout=0.3)[0] for name, *arguments in rows]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGPROF, handler)
    assert outcomes == [Outcome(None, "timeout"), Outcome(1)]


def test_a_caller_that_was_stopped_does_not_end_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch counts its own waits, so that a stop of the caller counts as one of them at most."""
    looks: list[float] = []

    class Clock(threading.Event):
        def wait(self, seconds: float | None = None) -> bool:
            looks.append(seconds)
            return False

    monkeypatch.setattr(watch, "Event", Clock)
    killed = SimpleNamespace(kill=lambda: looks.append(-1))
    Watch(killed, 20.0)._thread.join()
    assert looks == [1.0] * 20 + [-1]


@linux
def test_a_worker_that_dies_at_its_start_is_started_again(tmp_path: Path) -> None:
    script = tmp_path / "dies_once.py"
    died = tmp_path / "died"
    script.write_text(
        f"import os, pathlib, runpy\ndied = pathlib.Path({str(died)!r})\nif not died.exists():\n"
        f"    died.touch()\n    os.kill(os.getpid(), 9)\nrunpy.run_path({str(FAKE_WORKER)!r}, run_name='__main__')\n"
    )
    pool = make_fake_pool(script)
    assert pool.call_each("value", [(1,)], timeout=30) == [Outcome(1)]
    assert died.exists()
    pool.close()


@linux
@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL$"),
        ("raise ModuleNotFoundError('no sympy')", "exited with status 1: ModuleNotFoundError: no sympy$"),
        ("import os, time; os.close(1); os.close(2); time.sleep(600)", "was ended by SIGKILL$"),
    ],
)
def test_a_worker_that_never_starts_says_how_it_ended(tmp_path: Path, code: str, how: str) -> None:
    script = tmp_path / "dies.py"
    script.write_text(code)
    with pytest.raises(RuntimeError, match=f"a grader process did not start in 3 attempts; the last one {how}"):
        make_fake_pool(script).call_each("value", [(1,)], timeout=30)


def test_a_worker_that_is_stopped_at_its_start_is_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "START_SECONDS", 0.1)
    script = tmp_path / "sleeps.py"
    script.write_text("import time; time.sleep(600)")
    with pytest.raises(RuntimeError, match=r"the last one was not ready after 0\.1 s"):
        make_fake_pool(script).call_each("value", [(1,)], timeout=30)


@linux
def test_workers_get_no_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "https_proxy", "HTTP_PROXY", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, "secret")
    pool = make_fake_pool()
    environment = pool.call_each("environment", [()], timeout=30)[0].value
    assert "secret" not in environment.values()
    files, home = pool.call_each("folder", [()], timeout=30)[0].value
    assert files == []
    assert not os.path.exists(home)
    assert pool.call_each("write", [()], timeout=30) == [Outcome(None, "error FileNotFoundError")]
    pool.close()


def test_workers_get_the_variables_of_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"PYTHONPATH": f"src{os.pathsep}", "PATH": "/bin", "LC_ALL": "C", "LD_LIBRARY_PATH": "", "USER": "me"}
    environment = start.worker_environment(variables, "/home")
    assert environment["PYTHONPATH"] == f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"
    assert (environment["PATH"], environment["LC_ALL"], environment["HOME"], environment["TMPDIR"]) == (
        os.path.abspath("/bin"),
        "C",
        "/home",
        "/home",
    )
    assert not {"LD_LIBRARY_PATH", "USER"} & set(environment)
    assert environment["PYTHONUSERBASE"] == site.getuserbase()


@linux
@pytest.mark.parametrize(
    "line", ['{"result": 1.0, "reason": "", "last": false}', "0 1.0", "", '0123456789abcdef {"result"']
)
def test_a_forged_reply_does_not_count(fake_pool: Pool, line: str) -> None:
    assert fake_pool.call_each("forge", [(line,)], timeout=30) == [Outcome(None, "tampered")]
    assert fake_pool.call_each("value", [(1,), (2,)], timeout=30) == [Outcome(1), Outcome(2)]


@linux
@pytest.mark.parametrize("function", ["change", "spoil"])
def test_a_worker_whose_scorer_changed_is_not_used_again(fake_pool: Pool, function: str) -> None:
    """Nor does what the changed scorer said count; the calls beside it are made by another worker."""
    fake_pool.call_each("value", [(1,)], timeout=30)
    before = pids(fake_pool)
    assert fake_pool.call_each(function, [()], timeout=30) == [Outcome(None, "tampered")]
    assert fake_pool.call_each("value", [(1,), (2,)], timeout=30) == [Outcome(1), Outcome(2)]
    assert pids(fake_pool) != before


def test_a_missing_package_is_a_clear_error() -> None:
    with pytest.raises(ImportError, match=re.escape(f"grading needs nix: {install_command('tasks')}.")):
        Pool("nix").call_each("latex_value", [("1",)], timeout=5)
    with pytest.raises(ValueError, match="num_workers 0 leaves no worker to grade; give 1 or more"):
        Pool("math_verify", num_workers=0)


def test_workers_load_nothing_of_echorl() -> None:
    loaded = "print('echorl' in sys.modules, 'torch' in sys.modules)"
    code = f"import runpy, sys; runpy.run_path({worker.__file__!r}); {loaded}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_encode_keeps_tuples() -> None:
    value = {"board": ((1, 2), [3, (4,)]), "name": "a"}
    assert worker_gym.decode(worker_gym.encode(value)) == value
