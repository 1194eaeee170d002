"""Run the stages one after another, each within its seconds; what is measured already is not measured again.

python -m benchmarks.gpu [--minutes 9] [--seconds tests=35 step=110 ...] [--parallel 3] [--rehearse]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.stages import STAGES, Settings, rows_of
from benchmarks.results import FOLDER, ROOT
from echorl.models import POLICY
from echorl.support.errors import UserError, guard
from echorl.support.files import replacing_folder

SECONDS = {"tests": 35, "kernels": 35, "step": 110, "study": 600}
"""Limits of the stages; in 9 minutes they leave the study more than 5."""
LEAST = 20
"""Seconds without which no stage begins."""
RESERVE = 10
"""Seconds of the whole time that are kept for ending."""


def install_wheels(wheels: Path, site: Path) -> bool:
    """Install the carried wheels if TRL is missing, and return whether it is there; if not, a sentence is printed."""
    if importlib.util.find_spec("trl") is not None or site.exists():
        return True
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"]
    try:
        with replacing_folder(site) as scratch:
            subprocess.run([*command, str(scratch), *map(str, sorted(wheels.glob("*.whl")))], check=True)
    except subprocess.CalledProcessError as error:
        print(f"wheels   failed: pip could not install {wheels}/*.whl (exit code {error.returncode}); without TRL the")
        print("         step is measured in a loop of the core's functions, and the study cannot run", flush=True)
        return False
    return True


def run_stage(stage: str, settings: Settings, log: Path) -> str:
    """Run a stage up to its time limit, and return how it stands."""
    began = time.time()
    process = start([stage, json.dumps(asdict(settings), default=str), str(os.getpid())], log)
    try:
        while (code := process.poll()) is None and time.time() < settings.until:
            time.sleep(0.2)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with its children, at once, so that the time limit is kept
    seconds = f"{time.time() - began:.0f} s"
    if code:
        return f"failed after {seconds}{last_lines(log)}"
    if rows_of(stage, settings.rehearse) <= settings.measured(stage):
        return f"finished in {seconds}"
    state = "stopped at its time limit" if code is None else "not finished"
    return f"{state} after {seconds}; the same command goes on{last_lines(log)}"


def last_lines(log: Path) -> str:
    """Return the end of a log, which does not come back from the machine."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "".join(f"\n    {line[:200]}" for line in list(filter(str.strip, lines))[-15:])


def start(arguments: list[str], log: Path) -> Any:
    """Start a stage in a process group of its own."""
    with log.open("wb") as file:
        command = [sys.executable, "-m", "benchmarks.gpu.stages", *arguments]
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)


def stage_limit(text: str) -> tuple[str, float]:
    """Return stage and seconds of an argument such as "step=250"."""
    stage, _, number = text.partition("=")
    if stage not in SECONDS or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(SECONDS)} with seconds, such as step=250")
    return stage, float(number)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 1 if a stage failed."""
    parser = argparse.ArgumentParser(prog="make gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9, help="the whole time (9)")
    parser.add_argument("--seconds", nargs="*", default=[], type=stage_limit, help=f"limits of stages {SECONDS}")
    parser.add_argument("--parallel", type=int, default=3, help="runs of the study at a time (3: one seed)")
    parser.add_argument("--output", type=Path, help="folder of the rows (benchmarks/results, or build/rehearsal)")
    parser.add_argument("--carried", type=Path, default=ROOT / "build", help="folder with wheels/ and model/ (build)")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on a CPU")
    words, began = sys.argv[1:] if argv is None else argv, time.time()
    args = parser.parse_args(words)
    if not (args.rehearse or torch.cuda.is_available()):
        raise UserError("torch sees no GPU here: use a machine with one, or try it with `make gpu ARGS=--rehearse`.")
    seconds = {**SECONDS, **dict(args.seconds)}
    output = (args.output or (ROOT / "build/rehearsal" if args.rehearse else FOLDER)).resolve()
    output.mkdir(parents=True, exist_ok=True)
    carried = args.carried.resolve()
    model = POLICY if args.rehearse and not (carried / "model").exists() else carried / "start"
    failed = not install_wheels(carried / "wheels", carried / "site")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(carried / "site")])
    if args.rehearse:
        os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    command = " ".join(["python -m benchmarks.gpu", *words])
    end = began + 60 * args.minutes - RESERVE
    for stage in STAGES:
        until = min(end, time.time() + seconds[stage])
        settings = Settings(output, model, until, 1 if args.rehearse else args.parallel, args.rehearse, command)
        if rows_of(stage, args.rehearse) <= settings.measured(stage):
            state = "finished before"
        elif until - time.time() < LEAST:
            state = f"not begun, since less than {LEAST} s of its time are left; the same command goes on"
        else:
            state = run_stage(stage, settings, output / f"gpu-{stage}.log")
        failed |= state.startswith("failed")
        print(f"{stage:8} {state}", flush=True)
    print(f"rows in {output}/gpu-*.csv, after {time.time() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(guard(main))
