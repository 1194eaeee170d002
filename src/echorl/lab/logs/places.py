"""The files of a training log in the folders of runs, as the frameworks lay them out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echorl.lab.logs.files import find_files, is_begun, notes_on_earlier_runs

COMPLETIONS, ROLLOUTS = "completions", "rollouts"


def find_log_files(places: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files of a log, and notes on what lies beside them and is not read.

    Of a run's folder these are TRL's `completions/`, else ms-swift's `completions.jsonl`, else `rollouts/`, which is
    EchoRL's or prime-rl's; of any other folder its *.jsonl and *.parquet.

    Raises:
        ValueError: a file does not exist, or a folder holds none.
    """
    notes: list[str] = []
    logs = [path for place in places for path in _of_run(place, notes)]
    files, notes = find_files(logs), [*notes, *notes_on_earlier_runs(logs)]
    newest = max(files, key=lambda path: path.stat().st_mtime)
    if len(files) > 1 and newest not in places and is_begun(newest):
        notes.append(f"{newest} is empty or not whole and was left out: a run may be writing it.")
        files.remove(newest)
    return files, notes


def log_place(place: Path) -> Path:
    """Return the log that a place stands for: of a run's folder its log, else the place itself."""
    return next(iter(_logs_in(place)), place)


def _logs_in(folder: Path) -> list[Path]:
    candidates = (folder / COMPLETIONS, folder / f"{COMPLETIONS}.jsonl", folder / ROLLOUTS)
    return [path for path in candidates if path.exists() and (path.is_file() or any(path.glob("*")))]


def _of_run(place: Path, notes: list[str]) -> list[Path]:
    log, *unread = [*_logs_in(place), place]
    if unread[:-1]:
        notes.append(f"{log} is read; {', '.join(map(str, unread[:-1]))} too has rollouts: name it to read it.")
    return _of_steps(log) or [log]


def _of_steps(folder: Path) -> list[Path]:
    """Return the files that prime-rl writes, in order of their steps: of the batches that were trained on."""
    paths = folder.glob("step_*/train/effective/traces.jsonl") if folder.is_dir() else ()
    return sorted(paths, key=lambda path: _number(path.parts[-4].removeprefix("step_")))


def _number(digits: str) -> int:
    return int(digits) if digits.isdigit() else -1
