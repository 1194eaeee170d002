"""Results as CSV: a row for each measurement, with its date, commit, machine and command."""

from __future__ import annotations

import csv
import datetime
import io
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from echorl.support.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).parent / "results"
CARRIED_COMMIT = ROOT / "build" / "commit"
"""File with the commit of a copied tree, which has no git (`benchmarks.gpu.carry` writes it)."""


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
    command = f"python -m benchmarks.{module or name} {' '.join(sys.argv[1:])}".rstrip()
    origin = provenance(device, sources, command)
    FOLDER.mkdir(exist_ok=True)
    return write_rows(FOLDER / f"{name}.csv", [{**row, **origin} for row in rows])


def provenance(device: str, sources: str, command: str) -> dict[str, object]:
    """Return the columns that say when, where and how a row was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit(sources),
        "device": device_name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "command": command,
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows that have the same columns, in one move, and return the path."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def commit(sources: str) -> str:
    """Return the short hash of HEAD, with `+changes` if tracked files under `sources` differ from it.

    In a copied tree without git it is the one that was written down; "" where there is none.
    """
    head = _git("rev-parse", "--short", "HEAD")
    if not head:
        return CARRIED_COMMIT.read_text().strip() if CARRIED_COMMIT.exists() else ""
    return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no", "--", sources) else head


def _git(*arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
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
