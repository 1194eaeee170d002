"""Results as CSV: a row for each measurement, with its date, commit, machine and command."""

from __future__ import annotations

import csv
import datetime
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).parent / "results"


def write_csv(
    name: str,
    rows: Sequence[dict[str, object]],
    *,
    device: str = "cpu",
    sources: str = "src",
    module: str | None = None,
) -> Path:
    """Write `results/NAME.csv` and return its path.

    `sources`: folder whose uncommitted changes are marked at the commit. `module`: the benchmark's module, if it is not
    `name`.
    """
    header = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit(sources),
        "device": device_name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "command": " ".join(["python", "-m", f"benchmarks.{module or name}", *sys.argv[1:]]),
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=[*rows[0], *header], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, **header} for row in rows)
    return path


def commit(sources: str) -> str:
    """The short hash of HEAD, with `+changes` if tracked files under `sources` differ from it."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no", "--", sources) else head


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def device_name(device: str) -> str:
    """Name of the GPU, or of the CPU with its number of cores."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({len(names)} cores)" if names else platform.processor()
