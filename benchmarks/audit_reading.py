"""CPU time and peak memory of reading a log for `echorl audit`, at 100,000 and 1,000,000 rows of about 1 KB.

    python -m benchmarks.audit_reading [--rows 100000,1000000] [--seed 0]

Logs in the form of verl, of a plain table without steps and of TRL are written to a temporary folder, and each is
read in a process of its own: groups of 8, 128 in a step, 10,000 prompts, a quarter of which the policy never solves.
The peak is the process's (Linux), libraries included.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORMS = ("verl", "plain", "trl")
GROUP_SIZE, GROUPS_A_STEP, NUM_PROMPTS, UNSOLVED = 8, 128, 10_000, 0.25
RESULT = "result "


def make_rows(num: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield rollouts: a prompt of 200 characters, a response of about 800 that ends in an answer."""
    rng = random.Random(seed)
    lines = [f"Step {i}: we add {i * 7} to what we had, and get {i * 13}.\n" for i in range(500)]
    prompts = [f"{i}: " + "".join(rng.choices(lines, k=5))[:200] for i in range(NUM_PROMPTS)]
    for index in range(num):
        group = index // GROUP_SIZE
        if index % GROUP_SIZE == 0:
            prompt = rng.randrange(NUM_PROMPTS)
        right = prompt >= UNSOLVED * NUM_PROMPTS and rng.random() < 0.6
        answer = 42 if right else rng.randrange(100, 110)
        response = "".join(rng.choices(lines, k=17)) + f"The answer is \\boxed{{{answer}}}."
        yield {
            "step": group // GROUPS_A_STEP, "prompt": prompts[prompt], "response": response,
            "answer": "42", "reward": float(right),
        }  # fmt: skip


def write_log(form: str, rows: Iterator[dict[str, Any]], folder: Path) -> None:
    """Write a log: a file a step (verl: JSONL, TRL: parquet), or one file without steps (plain)."""
    if form == "plain":
        with (folder / "log.jsonl").open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps({name: value for name, value in row.items() if name != "step"}) + "\n")
        return
    batch: list[dict[str, Any]] = []
    for row in rows:
        if batch and row["step"] != batch[0]["step"]:
            _write_step(form, batch, folder)
            batch = []
        batch.append(row)
    _write_step(form, batch, folder)


def _write_step(form: str, batch: list[dict[str, Any]], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    step = batch[0]["step"]
    names = {"prompt": "input", "response": "output", "answer": "gts", "reward": "score", "step": "step"}
    if form == "verl":
        lines = (json.dumps({names[name]: value for name, value in row.items()}) + "\n" for row in batch)
        (folder / f"{step}.jsonl").write_text("".join(lines), encoding="utf-8")
        return
    rows = [
        {
            "step": step,
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["response"]}],
            "accuracy_reward": row["reward"], "solution": row["answer"], "advantage": row["reward"] - 0.5,
        } for row in batch
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / f"completions_{step:05d}.parquet")


def read(folder: Path) -> None:
    """Read a log, and print what it took as JSON."""
    from echorl.lab.audit.read import read_log
    from echorl.lab.options import Columns

    start = time.process_time()
    log = read_log([folder], Columns(), 1.0)
    seconds = time.process_time() - start
    status = Path("/proc/self/status").read_text(encoding="utf-8")  # getrusage's peak would be the parent's, too
    peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
    print(RESULT + json.dumps({"cpu_seconds": round(seconds, 2), "peak_mb": peak, "groups": len(log.groups)}))


def measure(form: str, num: int, seed: int) -> dict[str, object]:
    """Write a log, read it in another process, and return the numbers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(form, make_rows(num, seed), folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        command = [sys.executable, "-m", "benchmarks.audit_reading", "--read", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith(RESULT))
    return {"form": form, "rows": num, "mb": round(size / 2**20), **json.loads(line.removeprefix(RESULT))}


def main() -> None:
    """Measure every form at every size, and store the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="100000,1000000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        read(args.read)
        return
    from benchmarks.results import write_csv

    rows = [measure(form, int(num), args.seed) for form in FORMS for num in args.rows.split(",")]
    for row in rows:
        print(row)
    print(write_csv("audit_reading", rows))


if __name__ == "__main__":
    main()
