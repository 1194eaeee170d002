"""The grader pool: speed on real rollouts against calls in this process, and what hostile answers do to it.

    python -m benchmarks.grading [--rollouts qwen25_math_100x8.jsonl] [--repeats 15] [--golds FOLDER]
                                 [--timeout 5] [--memory_mb 1024]

`rollouts`: JSON lines with `solution`, `answer` and `correct`; each is a pair for math-verify, with one more space than
the one before, so that no cache of the pool answers. The workers are started before the clock. `golds`: a folder with
the files that `tests/tasks/verify/golds.py` reads; all are validated, and those that take 1 ms or more are timed.
Without both the hostile part alone is run: each text of `tests/tasks/verify/hostile.py` between right answers that only
math-verify finds right.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.results import write_csv
from echorl.tasks.verify import GRADERS, MathGrader, Pool, Verdict
from echorl.tasks.verify.worker_math import math_equal
from tests.tasks.verify import hostile
from tests.tasks.verify.golds import golds_of

Pair = tuple[str, str]
Row = dict[str, object]


def read_pairs(path: Path) -> list[Pair]:
    """(gold, answer) of each rollout with a box, all different as texts."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    pairs = [(row["answer"], GRADERS["math"].read(row["solution"])) for row in rows]
    return [(gold, answer + " " * n) for n, (gold, answer) in enumerate(pairs) if answer]


def slow_pairs(folder: Path, milliseconds: float = 1.0) -> list[Pair]:
    """Return golds of OlympiadBench against themselves and each other that take so long in this process, or longer."""
    golds = golds_of(folder)["olympiad_bench"][1]
    pairs = [(gold, other + " " * n) for n, gold in enumerate(golds) for other in (gold, golds[n - 1])]
    for pair in pairs:
        math_equal(*pair)  # what the first call alone takes is not timed
    return [pair for pair in pairs if milliseconds_of(pair) >= milliseconds]


def milliseconds_of(pair: Pair) -> float:
    start = time.process_time()
    math_equal(*pair)
    return 1000 * (time.process_time() - start)


def time_pairs(pairs: list[Pair], repeats: int, label: str) -> list[Row]:
    """Serial, in two halves, with one worker and with two, in turn, `repeats` times; all give the same verdicts."""
    pools = {count: Pool("math_verify", num_workers=count, cache_size=0) for count in (1, 2)}
    ways: dict[str, Callable[[], list[bool]]] = {"serial": lambda: [math_equal(*pair) for pair in pairs]}
    halves = ways["two processes without a pool"] = Halves(pairs)
    ways |= {f"pool of {count}": lambda pool=pool: call(pool, pairs) for count, pool in pools.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    gc.freeze()  # else collections walk what torch has imported, in this process alone, and serial looks slow
    for _ in range(repeats):
        results = []
        for name, way in ways.items():
            start = time.perf_counter()
            results.append(way())
            seconds[name].append(time.perf_counter() - start)
        assert all(result == results[0] for result in results)
    for one in (*pools.values(), halves):
        one.close()
    serial = statistics.median(seconds["serial"])
    return [
        {
            "what": f"{label}, {name}",
            "texts": len(pairs),
            "seconds": round(statistics.median(times), 3),
            "serial_over_this": round(serial / statistics.median(times), 3),
            "of_pairs_of_runs": " ".join(f"{a / b:.3f}" for a, b in zip(seconds["serial"], times, strict=True)),
        }
        for name, times in seconds.items()
    ]


class Halves:
    """What two workers could do at best on this machine: a half each in two forked processes, told when to begin."""

    def __init__(self, pairs: list[Pair]) -> None:
        fork = multiprocessing.get_context("fork")
        self.pipes, self.processes = [], []
        for half in (pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=self._serve, args=(theirs, half), daemon=True)
            process.start()
            self.pipes.append(ours)
            self.processes.append(process)

    @staticmethod
    def _serve(pipe: Connection, pairs: list[Pair]) -> None:
        while pipe.recv():
            pipe.send([math_equal(*pair) for pair in pairs])

    def __call__(self) -> list[bool]:
        for pipe in self.pipes:
            pipe.send(True)
        return [verdict for pipe in self.pipes for verdict in pipe.recv()]

    def close(self) -> None:
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(False)
            process.join()


def call(pool: Pool, pairs: list[Pair]) -> list[bool]:
    return [outcome.value for outcome in pool.call_each("math_equal", pairs, timeout=30)]


def time_overhead(calls: int = 20_000) -> Row:
    """CPU time of a call that does nothing, since its function does not exist: the pool's own part."""
    pool = Pool("math_verify", num_workers=1, cache_size=0)
    call(pool, [("1", "x")])
    (pid,) = children()
    start, start_worker = sum(os.times()[:2]), cpu_seconds(pid)
    pool.call_each("nothing", [("\\frac{1}{2}", str(n)) for n in range(calls)], timeout=30)
    caller, its_worker = sum(os.times()[:2]) - start, cpu_seconds(pid) - start_worker
    pool.close()
    microseconds = {"caller_us": round(caller / calls * 1e6, 1), "worker_us": round(its_worker / calls * 1e6, 1)}
    return {"what": "a call of nothing, CPU time", "texts": calls, **microseconds}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def time_grader(path: Path) -> Row:
    """The grader as it is used: equal texts at once, equal pairs once."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    pool = Pool("math_verify", num_workers=2)
    call(pool, [("1", "x"), ("1", "y")])
    start = time.perf_counter()
    verdicts = MathGrader(pool=pool).grade([row["solution"] for row in rows], [row["answer"] for row in rows])
    seconds = time.perf_counter() - start
    pool.close()
    agree = sum((verdict.score == 1.0) == row["correct"] for row, verdict in zip(rows, verdicts, strict=True))
    return {"what": "grader, pool of 2", "texts": len(rows), "seconds": round(seconds, 3), "agree": agree}


def validate_golds(folder: Path) -> list[Row]:
    """Own answers refused and others' accepted, of every file; each of them is printed."""
    rows: list[Row] = []
    for name, (grader, golds) in golds_of(folder).items():
        start = time.perf_counter()
        found = GRADERS[grader].validate(golds)
        for slip in found.slips:
            print(slip)
        row = {"what": f"golds, {name}", "texts": found.own, "seconds": round(time.perf_counter() - start, 1)}
        rows.append({**row, "own_accepted": found.own_accepted, "others_accepted": found.other_accepted})
        rows[-1]["others"] = found.other
    return rows


def grade_hostile(timeout: float, memory_limit: int) -> list[Row]:
    """One row a reason: how many texts, and in the first the whole time and the workers' peak memory."""
    corpus = hostile.all_completions()
    texts = [text for n, (_, bad) in enumerate(corpus) for text in (bad, right_answer(n))]
    pool = Pool("math_verify", num_workers=2, memory_limit=memory_limit)
    call(pool, [("1", "x"), ("1", "y")])
    with peak_memory() as peaks:
        start = time.perf_counter()
        verdicts = MathGrader(timeout=timeout, pool=pool).grade(texts, [hostile.GOLD] * len(texts))
        seconds = time.perf_counter() - start
    pool.close()
    assert all(verdict.score == 1.0 for verdict in verdicts[1::2]), "a neighbour was lost"
    assert all(verdict.score == 0.0 for verdict in verdicts[0::2]), "a hostile text was accepted"
    whole = {"timeout_s": timeout, "seconds": round(seconds, 1), "peak_worker_mb": max(peaks.values()) // 2**20}
    return [{"what": "hostile, all", "texts": len(corpus), **whole}, *by_reason(verdicts[0::2])]


def by_reason(verdicts: list[Verdict]) -> list[Row]:
    reasons = Counter(verdict.reason or "compared" for verdict in verdicts)
    return [{"what": f"hostile, {reason}", "texts": count} for reason, count in reasons.most_common()]


def right_answer(n: int) -> str:
    return f"\\boxed{{\\frac{{{int(hostile.GOLD) * (n + 2)}}}{{{n + 2}}}}}"


@contextmanager
def peak_memory() -> Iterator[dict[int, int]]:
    """Process id -> the most resident memory, in bytes, that each child had so far (Linux)."""
    peaks: dict[int, int] = {0: 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for pid in children():
                peaks[pid] = max(peaks.get(pid, 0), resident_peak(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        over.set()
        thread.join()


def children() -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with suppress(FileNotFoundError):  # the thread has ended since
            found += map(int, file.read_text().split())
    return found


def resident_peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--golds", type=Path)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--memory_mb", type=int, default=1024)
    args = parser.parse_args()
    rows: list[Row] = []
    if args.rollouts is not None:
        rows += time_pairs(read_pairs(args.rollouts), args.repeats, "rollouts")
        rows += [time_grader(args.rollouts), time_overhead()]
    if args.golds is not None:
        rows += time_pairs(slow_pairs(args.golds), args.repeats, "1 ms and more")
        rows += validate_golds(args.golds)
    rows += grade_hostile(args.timeout, args.memory_mb * 2**20)
    for row in rows:
        print(row, flush=True)
    columns = dict.fromkeys(name for row in rows for name in row)
    print(
        write_csv(
            "grading", [{name: row.get(name, "") for name in columns} for row in rows], sources="src/echorl/tasks"
        )
    )


if __name__ == "__main__":
    main()
