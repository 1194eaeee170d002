"""Measurements of the grader pool: speed on real rollouts, and the effect of hostile answers.

    python -m benchmarks.grading [--rollouts qwen25_math_100x8.jsonl] [--repeats 15] [--reference-answers FOLDER]
                                 [--timeout 5] [--memory_mb 1024]

`--rollouts`: JSON lines with `solution`, `answer` and `correct`. Each is a pair for math-verify, and has one more space
than the one before, so that the pool's cache has no answer. The workers start before the clock. `--reference-answers`:
a folder with the files that `tests/tasks/verify/reference_answers.py` reads; all of them are validated, and those of
OlympiadBench that take 1 ms or more are timed. The hostile part always runs: each text of
`tests/tasks/verify/hostile.py` between right answers that math-verify has to compare.
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
from tests.tasks.verify.reference_answers import reference_answers_of

Pair = tuple[str, str]
Row = dict[str, object]


def read_pairs(path: Path) -> list[Pair]:
    """Pairs (reference answer, answer) of the rollouts with a box, all different as texts."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    pairs = [(row["answer"], GRADERS["math"].read(row["solution"])) for row in rows]
    return [(reference, answer + " " * n) for n, (reference, answer) in enumerate(pairs) if answer]


def slow_pairs(folder: Path, milliseconds: float = 1.0) -> list[Pair]:
    """Pairs of OlympiadBench's reference answers, each with itself and another, that take `milliseconds` or more."""
    answers = reference_answers_of(folder)["olympiad_bench"][1]
    pairs = [
        (reference, answer + " " * n) for n, reference in enumerate(answers) for answer in (reference, answers[n - 1])
    ]
    for pair in pairs:
        math_equal(*pair)  # the first call takes longer and is not timed
    return [pair for pair in pairs if milliseconds_of(pair) >= milliseconds]


def milliseconds_of(pair: Pair) -> float:
    """CPU time of a call in this process."""
    start = time.process_time()
    math_equal(*pair)
    return 1000 * (time.process_time() - start)


def time_pairs(pairs: list[Pair], repeats: int, label: str) -> list[Row]:
    """Rows for calls in this process, in two forked processes, by one worker and by two; all results are equal."""
    pools = {count: Pool("math_verify", num_workers=count, cache_size=0) for count in (1, 2)}
    ways: dict[str, Callable[[], list[bool]]] = {"serial": lambda: [math_equal(*pair) for pair in pairs]}
    halves = ways["two processes without a pool"] = Halves(pairs)
    ways |= {f"pool of {count}": lambda pool=pool: call(pool, pairs) for count, pool in pools.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    gc.freeze()  # else collections walk torch's modules in this process alone, which slows the serial calls
    for _ in range(repeats):
        results = []
        for name, way in ways.items():
            start = time.perf_counter()
            results.append(way())
            seconds[name].append(time.perf_counter() - start)
        assert all(result == results[0] for result in results)
    for caller in (*pools.values(), halves):
        caller.close()
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
    """The best that two workers can do on this machine: two forked processes with half of the pairs each."""

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
        """End the processes."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(False)
            process.join()


def call(pool: Pool, pairs: list[Pair]) -> list[bool]:
    """Results of math-verify by a pool."""
    return [outcome.value for outcome in pool.call_each("math_equal", pairs, timeout=30)]


def time_overhead(calls: int = 20_000) -> Row:
    """Row with the pool's own CPU time: that of a call whose function does not exist."""
    pool = Pool("math_verify", num_workers=1, cache_size=0)
    call(pool, [("1", "x")])
    (pid,) = children()
    start, start_worker = sum(os.times()[:2]), cpu_seconds(pid)
    pool.call_each("nothing", [("\\frac{1}{2}", str(n)) for n in range(calls)], timeout=30)
    caller, worker = sum(os.times()[:2]) - start, cpu_seconds(pid) - start_worker
    pool.close()
    microseconds = {"caller_us": round(caller / calls * 1e6, 1), "worker_us": round(worker / calls * 1e6, 1)}
    return {"what": "a call of nothing, CPU time", "texts": calls, **microseconds}


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def time_grader(path: Path) -> Row:
    """Row for the grader with its shortcut for equal texts and its cache."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    pool = Pool("math_verify", num_workers=2)
    call(pool, [("1", "x"), ("1", "y")])
    start = time.perf_counter()
    verdicts = MathGrader(pool=pool).grade([row["solution"] for row in rows], [row["answer"] for row in rows])
    seconds = time.perf_counter() - start
    pool.close()
    agree = sum((verdict.score == 1.0) == row["correct"] for row, verdict in zip(rows, verdicts, strict=True))
    return {"what": "grader, pool of 2", "texts": len(rows), "seconds": round(seconds, 3), "agree": agree}


def validate_reference_answers(folder: Path) -> list[Row]:
    """Rows with the counts of each file's validation; its slips are printed."""
    rows: list[Row] = []
    for name, (grader, reference_answers) in reference_answers_of(folder).items():
        start = time.perf_counter()
        validation = GRADERS[grader].validate(reference_answers)
        for slip in validation.slips:
            print(slip)
        row = {
            "what": f"reference answers, {name}",
            "texts": validation.right,
            "seconds": round(time.perf_counter() - start, 1),
        }
        rows.append({**row, "own_accepted": validation.right_accepted, "others_accepted": validation.wrong_accepted})
        rows[-1]["others"] = validation.wrong
    return rows


def grade_hostile(timeout: float, memory_limit: int) -> list[Row]:
    """A row for all texts with the time and the workers' peak memory, and a row for each reason."""
    corpus = hostile.all_completions()
    texts = [text for n, (_, bad) in enumerate(corpus) for text in (bad, right_answer(n))]
    pool = Pool("math_verify", num_workers=2, memory_limit=memory_limit)
    call(pool, [("1", "x"), ("1", "y")])
    with peak_memory() as peaks:
        start = time.perf_counter()
        verdicts = MathGrader(timeout=timeout, pool=pool).grade(texts, [hostile.REFERENCE] * len(texts))
        seconds = time.perf_counter() - start
    pool.close()
    assert all(verdict.score == 1.0 for verdict in verdicts[1::2]), "a neighbour was lost"
    assert all(verdict.score == 0.0 for verdict in verdicts[0::2]), "a hostile text was accepted"
    whole = {"timeout_s": timeout, "seconds": round(seconds, 1), "peak_worker_mb": max(peaks.values()) // 2**20}
    return [{"what": "hostile, all", "texts": len(corpus), **whole}, *by_reason(verdicts[0::2])]


def by_reason(verdicts: list[Verdict]) -> list[Row]:
    """A row for each reason, with the number of its texts."""
    reasons = Counter(verdict.reason or "compared" for verdict in verdicts)
    return [{"what": f"hostile, {reason}", "texts": count} for reason, count in reasons.most_common()]


def right_answer(n: int) -> str:
    """A right answer to the hostile texts' question, different for each n."""
    return f"\\boxed{{\\frac{{{int(hostile.REFERENCE) * (n + 2)}}}{{{n + 2}}}}}"


@contextmanager
def peak_memory() -> Iterator[dict[int, int]]:
    """Process id -> largest resident memory of each child so far, in bytes (Linux)."""
    peaks: dict[int, int] = {0: 0}
    end = threading.Event()

    def watch() -> None:
        while not end.wait(0.02):
            for pid in children():
                peaks[pid] = max(peaks.get(pid, 0), resident_peak(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        end.set()
        thread.join()


def children() -> list[int]:
    """Ids of the child processes (Linux)."""
    pids: list[int] = []
    for file in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with suppress(FileNotFoundError):  # the thread has ended in the meantime
            pids += map(int, file.read_text().split())
    return pids


def resident_peak(pid: int) -> int:
    """Largest resident memory of a process in bytes (Linux); 0 after its end."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    """Run the measurements and write `results/grading.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--reference-answers", type=Path)
    parser.add_argument("--timeout", type=float, default=5.0)
    parser.add_argument("--memory_mb", type=int, default=1024)
    args = parser.parse_args()
    rows: list[Row] = []
    if args.rollouts is not None:
        rows += time_pairs(read_pairs(args.rollouts), args.repeats, "rollouts")
        rows += [time_grader(args.rollouts), time_overhead()]
    if args.reference_answers is not None:
        rows += time_pairs(slow_pairs(args.reference_answers), args.repeats, "1 ms and more")
        rows += validate_reference_answers(args.reference_answers)
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
