"""Rollouts read from JSONL and parquet files, a few at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from echorl.lab.mine.layouts import Layout, Rollout, find_layout, to_rollout
from echorl.lab.options import Columns
from echorl.support.texts import parse_json

PARQUET = b"PAR1"
SUFFIXES = (".jsonl", ".parquet")
ROWS_AT_ONCE = 256
Numbered = Iterator[tuple[int, dict[str, Any]]]


def find_files(places: Sequence[Path]) -> list[Path]:
    """The files named, and the *.jsonl and *.parquet of the folders named, by number where their names have one.

    A file that is named twice, also by another path, by a link or within a folder, is there once.

    Raises:
        ValueError: there is no such file, or none in a folder.
    """
    files = []
    for place in places:
        if not place.exists():
            hint = "; the standard input is /dev/stdin" if str(place) == "-" else ""
            raise ValueError(f"{place}: there is no such file or folder of rollouts{hint}.")
        inside = _inside(place) if place.is_dir() else [place]
        if not inside:
            raise ValueError(f"{place} holds no *.jsonl and no *.parquet: give a folder of rollouts, or files.")
        files += sorted(inside, key=_by_number)
    once: dict[tuple[int, int], Path] = {}
    for path in files:
        once.setdefault(_identity(path), path)
    return list(once.values())


def _identity(path: Path) -> tuple[int, int]:
    """The same for all paths and links of a file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _inside(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in SUFFIXES and path.is_file()]


def _by_number(path: Path) -> tuple[int, str]:
    digits = path.stem.rpartition("_")[2]  # 12.jsonl of verl's, completions_00012.parquet of TRL's
    return (int(digits) if digits.isdigit() else 0, path.name)


def read_rollouts(files: Sequence[Path], columns: Columns, seen: Callable[[int], None]) -> Iterator[Rollout]:
    """All rollouts in order; each file may have its own layout. `seen` is told the rows read so far.

    Raises:
        ValueError: a file is empty or damaged, or a row can't be used; the message begins with file and line.
    """
    count = 0
    for path in files:
        rows = _read(path)
        first = list(itertools.islice(rows, ROWS_AT_ONCE))
        layout = _find_layout(path, first, columns)
        for line, row in itertools.chain(first, rows):
            with _at(path, line):
                rollout = to_rollout(row, layout, (str(path), line))
            count += 1
            if count % ROWS_AT_ONCE == 0:
                seen(count)
            yield rollout
    seen(count)


def _find_layout(path: Path, first: Sequence[tuple[int, dict[str, Any]]], columns: Columns) -> Layout:
    """The layout of a file from its first rows: one row may lack a value, such as a reward, that the next one has."""
    if not first:
        raise ValueError(f"{path} is empty: give a file of rollouts.")
    values: dict[str, Any] = {}
    for _, row in first:
        values |= {name: value for name, value in row.items() if values.get(name) is None}
    with _at(path, first[0][0]):
        return find_layout(values, columns)


class _at:
    """Within, a ValueError says in which file and line."""

    def __init__(self, path: Path, line: int) -> None:
        self.place = f"{path}, line {line}"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ValueError):
            raise ValueError(f"{self.place}: {error}") from None


def _read(path: Path) -> Numbered:
    try:
        with path.open("rb") as file:  # once: what was read from a pipe is gone
            if file.peek(len(PARQUET))[: len(PARQUET)] != PARQUET:
                yield from _read_jsonl(path, file)
                return
            if not file.seekable():
                raise ValueError(
                    f"{path} is parquet from a pipe, but parquet is read from its end: write it to a file."
                )
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another file of rollouts.") from None
    yield from _read_parquet(path)


def _read_jsonl(path: Path, file: BinaryIO) -> Numbered:
    for line, text in enumerate(file, 1):  # bytes: a text file's lines would end at other characters, too
        if not text.strip():
            continue
        with _at(path, line):
            row = _parse(text)
        yield line, row


def _parse(text: bytes) -> dict[str, Any]:
    try:
        row = parse_json(text)
    except ValueError as error:
        raise ValueError(f"this is no JSON ({error}): give JSONL, one object a line, or parquet.") from None
    if not isinstance(row, dict):
        raise ValueError("this is no JSON object: give JSONL, one object a line, or parquet.")
    return row


def _read_parquet(path: Path) -> Numbered:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
                for row in batch.to_pylist():
                    line += 1
                    yield line, row
    except (pa.ArrowException, OSError, ValueError) as error:  # a ValueError: text that is not UTF-8
        why = " ".join(str(error).split())
        raise ValueError(f"{path} is no readable parquet file ({why}): give another.") from None
