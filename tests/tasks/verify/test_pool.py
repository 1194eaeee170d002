import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from echorl.tasks import graders, sandbox

TOWER = ("24", "9^{9^{9^9}}")
SCRIPT = """
from echorl.tasks import load_task
verifier = load_task("gsm8k", timeout=0.5).verifier
print(verifier(completions=["#### 48/2", "#### 9^{9^{9^9}}"], answer=["24", "24"]))
"""


def grade(*rows: tuple[str, str], timeout: float = 5.0) -> list[bool | None]:
    return sandbox.call_each("math_verify", rows, timeout=timeout)


def test_results_come_in_order() -> None:
    assert grade(*[("24", f"{n}/2") for n in range(44, 52)]) == [n == 48 for n in range(44, 52)]
    assert grade() == []


def test_late_calls_give_none_and_the_others_go_on() -> None:
    grade(("1", "1"))
    start = time.monotonic()
    assert grade(TOWER, ("24", "48/2"), TOWER, ("24", "23 apples"), timeout=1.0) == [None, True, None, False]
    assert time.monotonic() - start < 10


def test_a_grader_that_raises_gives_none() -> None:
    assert sandbox.call_each("reasoning_gym", [("no such dataset", "{}", "1", "{}")], timeout=5) == [None]


def test_a_dead_worker_is_replaced() -> None:
    one = sandbox.Worker("math_verify")
    assert one.call(("24", "48/2"), timeout=5) is True
    os.kill(one._process.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert one.call(("24", "48/2"), timeout=5) is True
    sandbox._end(one._process)


def test_any_thread_may_call() -> None:
    results: list[list[bool | None]] = []
    threads = [threading.Thread(target=lambda: results.append(grade(("24", "48/2")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[True]] * 4


def test_a_script_without_a_main_guard_runs_once_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[1.0, 0.0]\n"
    assert done.stderr == ""


def test_tuples_survive() -> None:
    value = {"board": ((1, 2), [3, (4,)]), "name": "a"}
    assert graders.decode(graders.encode(value)) == value
