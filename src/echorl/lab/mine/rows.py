"""Rollouts read from JSONL and parquet files, a few at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    """Return the files named, and the *.jsonl and *.parquet of the folders named, by number where names have one.

    A file that is named twice, also by another path, by a link or within a folder, is listed once.

    Raises:
        ValueError: a file does not exist, or a folder holds none.
    """
    files: dict[tuple[int, int], Path] = {}
    for place in places:
        if not place.exists():
            hint = "; the standard input is /dev/stdin" if str(place) == "-" else ""
            raise ValueError(f"{place}: there is no such file or folder of rollouts{hint}.")
        paths = _files_in(place) if place.is_dir() else [place]
        if not paths:
            raise ValueError(f"{place} holds no *.jsonl and no *.parquet: give a folder of rollouts, or files.")
        for path in paths:
            status = path.stat()  # the same for all paths and links of a file
            files.setdefault((status.st_dev, status.st_ino), path)
    return list(files.values())


def _files_in(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("*") if path.suffix in SUFFIXES and path.is_file()), key=_by_number)


def _by_number(path: Path) -> tuple[int, str]:
    digits = path.stem.rpartition("_")[2]  # verl writes 12.jsonl, TRL completions_00012.parquet
    return (int(digits) if digits.isdigit() else 0, path.name)


def read_rollouts(files: Sequence[Path], columns: Columns, advance: Callable[[int], None]) -> Iterator[Rollout]:
    """Yield all rollouts in order; each file may have its own layout. `advance` takes the number of rows read so far.

    Raises:
        ValueError: a file is empty or damaged, or a row cannot be used; the message begins with file and line.
    """
    count = 0
    for path in files:
        rows = _read(path)
        first_rows = list(itertools.islice(rows, ROWS_AT_ONCE))
        layout = _find_layout(path, first_rows, columns)
        for line, row in itertools.chain(first_rows, rows):
            with _located(path, line):
                rollout = to_rollout(row, layout, (str(path), line))
            count += 1
            if count % ROWS_AT_ONCE == 0:
                advance(count)
            yield rollout
    advance(count)


def _find_layout(path: Path, rows: Sequence[tuple[int, dict[str, Any]]], columns: Columns) -> Layout:
    """Return the layout of a file from its first rows: a value that one row lacks, such as a reward, another has."""
    if not rows:
        raise ValueError(f"{path} is empty: give a file of rollouts.")
    values: dict[str, Any] = {}
    for _, row in rows:
        values |= {name: value for name, value in row.items() if values.get(name) is None}
    with _located(path, rows[0][0]):
        return find_layout(values, columns)


@contextmanager
def _located(path: Path, line: int) -> Iterator[None]:
    """Put the file and the line in front of the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}, line {line}: {error}") from None


def _read(path: Path) -> Numbered:
    try:
        with path.open("rb") as file:  # opened once: a pipe cannot be read again
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
        with _located(path, line):
            try:
                row = parse_json(text)
            except ValueError as error:
                raise ValueError(f"this is no JSON ({error}): give JSONL, one object a line, or parquet.") from None
            if not isinstance(row, dict):
                raise ValueError("this is no JSON object: give JSONL, one object a line, or parquet.")
        yield line, row


def _read_parquet(path: Path) -> Numbered:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False)
            yield from enumerate(itertools.chain.from_iterable(batch.to_pylist() for batch in batches), 1)
    except (pa.ArrowException, OSError, ValueError) as error:  # a ValueError: text that is not UTF-8
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no readable parquet file ({reason}): give another file of rollouts.") from None
