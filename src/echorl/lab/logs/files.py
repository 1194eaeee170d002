"""Rows of JSONL and parquet files, a few at a time."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from echorl.support.errors import located
from echorl.support.files import last_value
from echorl.support.texts import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
SUFFIXES = (".jsonl", ".parquet")
ROWS_AT_ONCE = 256
FIRST_BYTES = 2**22
"""Of the rows that tell the columns of a file."""
Row = dict[str, Any]
NumberedRows = Iterator[tuple[int, Row]]


def find_files(places: Sequence[Path]) -> list[Path]:
    """Return the files named, and the *.jsonl and *.parquet of the folders named, by number where names have one.

    A file that is named twice, also by another path, by a link or within a folder, is listed once. Of a folder those of
    an earlier run (`of_earlier_run`) are left out.

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
            raise ValueError(
                f"{place} holds no *.jsonl and no *.parquet: give a folder of rollouts, {_folders_in(place)}or files."
            )
        for path in paths:
            status = path.stat()  # the same for all paths and links of a file
            files.setdefault((status.st_dev, status.st_ino), path)
    return list(files.values())


def _folders_in(place: Path) -> str:
    """Return the first folders in this one that have files of rollouts, as a part of a sentence; "" without any.

    A run's folder has them in a folder of its own.
    """
    folders = [path for path in sorted(place.glob("*")) if path.is_dir()]
    names = [path for path in folders if any(map(_files_in, (path, *filter(Path.is_dir, path.glob("*")))))]
    return f"such as {' or '.join(map(str, names[:3]))}, " if names else ""


def _files_in(folder: Path) -> list[Path]:
    paths = {path for path in folder.glob("*") if path.suffix in SUFFIXES and path.is_file()}
    return sorted(paths.difference(of_earlier_run(folder)), key=_by_number)


def of_earlier_run(folder: Path) -> list[Path]:
    """Return the files of TRL's `completions/` that an earlier, longer run in the same output_dir has left there.

    TRL names them by the step. Those of a run lie at most at the last step of its metrics, which are written first. A
    run that has no file yet has none of these either: all are of one run.
    """
    paths = sorted(folder.glob("completions_*.parquet"))
    last = last_value(folder.resolve().parent / "metrics.jsonl", "step") if paths else None
    later = [path for path in paths if isinstance(last, int) and _by_number(path)[0] > last]
    return later if len(later) < len(paths) else []


def notes_on_earlier_runs(places: Sequence[Path]) -> list[str]:
    """Return a sentence for each folder of which `find_files` leaves files out."""
    return [
        f"Files of {place} that were left out: {len(paths)} from {paths[0].name} on, of steps after the run's last "
        "one, which an earlier run has left there. Name files to read them."
        for place in places
        if (paths := of_earlier_run(place))
    ]


def _by_number(path: Path) -> tuple[int, str]:
    digits = path.stem.rpartition("_")[2]  # verl writes 12.jsonl, TRL completions_00012.parquet
    return (int(digits) if digits.isdigit() else 0, path.name)


class RowFile:
    """A file of rows, whatever its name. It is opened once: a pipe cannot be read again.

    Attributes:
        first_rows: of JSONL up to `ROWS_AT_ONCE`, with their lines; of parquet one, as line 1, with the first value of
            each column that is not null.
        unfinished: the last line of JSONL was no whole row and was left out; known when all rows were read.
    """

    def __init__(self, path: Path, file: BinaryIO, may_grow: bool) -> None:
        """Read the first rows.

        Args:
            may_grow: a last line without its end may be no whole row, since a run may be writing it.

        Raises:
            ValueError: the file is empty or damaged.
        """
        self.path, self.may_grow, self.unfinished = path, may_grow, False
        self._lines: NumberedRows | None = None
        first_bytes = file.peek(len(PARQUET))  # type: ignore[attr-defined]
        if first_bytes.startswith(GZIP):
            raise ValueError(f"{path} is gzipped: unpack it first (gunzip).")
        if not first_bytes.startswith(PARQUET):
            lines, count = _first_lines(file)
            rows = self._read_jsonl(itertools.chain(lines, file))
            self.first_rows = list(itertools.islice(rows, count))
            self._lines = itertools.chain(self.first_rows, rows)
        elif file.seekable():
            self.first_rows = [(1, row) for row in _first_values(path)]
        else:
            raise ValueError(f"{path} is parquet from a pipe, but parquet is read from its end: write it to a file.")
        if not self.first_rows and self.unfinished:
            raise ValueError(f"{path} has no whole line of JSON: give JSONL, lines of one object that end in \\n.")
        if not self.first_rows:
            raise ValueError(f"{path} is empty: give a file of rollouts.")
        self.first_line = self.first_rows[0][0]

    def rows(self, columns: Iterable[str], counted: str | None = None) -> NumberedRows:
        """Yield the line and the columns of each row, once. Columns of parquet that are not named are not read.

        Args:
            counted: a column of lists of which only the lengths are needed; parquet gives these.
        """
        return self._lines or _read_parquet(self.path, list(columns), counted)

    def sample(self, columns: Iterable[str]) -> list[Row]:
        """Return these columns of the first rows."""
        if self._lines is not None:
            return [row for _, row in self.first_rows]
        return [row for _, row in itertools.islice(_read_parquet(self.path, list(columns), None), ROWS_AT_ONCE)]

    def _read_jsonl(self, lines: Iterable[bytes]) -> NumberedRows:
        for line, text in enumerate(lines, 1):  # bytes: a text file's lines would end at other characters, too
            if not text.strip():
                continue
            with located(f"{self.path}, line {line}"):
                try:
                    row = parse_json(text)
                except ValueError as error:
                    if self.may_grow and not text.endswith(b"\n"):
                        self.unfinished = True
                        return
                    raise ValueError(f"this is no JSON ({error}): give JSONL, one object a line, or parquet.") from None
                if not isinstance(row, dict):
                    raise ValueError("this is no JSON object: give JSONL, one object a line, or parquet.")
            yield line, row


def is_begun(path: Path) -> bool:
    """Return whether a run may just have begun to write a file: it is empty, or neither a row nor the end is whole."""
    try:
        with path.open("rb") as file:
            if not file.seekable():
                return False
            if file.read(len(PARQUET)) == PARQUET:
                size = file.seek(0, os.SEEK_END)
                file.seek(-len(PARQUET), os.SEEK_END)
                return size < 3 * len(PARQUET) or file.read() != PARQUET
            file.seek(0)
            line = next((line for line in file if line.strip()), b"")
    except OSError:
        return False
    return not line or (line.startswith(b"{") and not line.endswith(b"\n") and not _is_json(line))


def _is_json(text: bytes) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def _first_lines(file: BinaryIO) -> tuple[list[bytes], int]:
    """Return the first lines, and how many of them are not blank: few where they are long, as lines of batches are."""
    lines: list[bytes] = []
    count = size = 0
    while count < ROWS_AT_ONCE and size < FIRST_BYTES and (line := file.readline()):
        lines.append(line)
        count, size = count + bool(line.strip()), size + len(line)
    return lines, count


def first_values(rows: Iterable[Row]) -> Row:
    """Return each column's first value that is not null: what one row lacks another has."""
    values: Row = {}
    for row in rows:
        values |= {name: value for name, value in row.items() if values.get(name) is None}
    return values


@contextmanager
def open_rows(path: Path, may_grow: bool = False) -> Iterator[RowFile]:
    """Open a file of rows; `may_grow` as of `RowFile`.

    Raises:
        ValueError: it is empty, damaged, or cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another file of rollouts.") from None
    with file:
        yield RowFile(path, file, may_grow)


def _first_values(path: Path) -> list[Row]:
    """Return a row with each column's first value that is not null; none of a file without rows."""
    with _readable(path) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
            twice = [name for name, count in Counter(batch.schema.names).items() if count > 1]
            if twice:
                raise ValueError(f"two columns are named {twice[0]!r}")
            columns = {name: column.drop_null() for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            return [{name: column[0].as_py() if len(column) else None for name, column in columns.items()}]
    return []


def _read_parquet(path: Path, columns: list[str], counted: str | None) -> NumberedRows:
    with _readable(path) as file:
        batches = file.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False, columns=columns)
        yield from enumerate(itertools.chain.from_iterable(_to_rows(batch, counted) for batch in batches), 1)


def _to_rows(batch: pa.RecordBatch, counted: str | None) -> list[Row]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if counted is not None and not pa.types.is_map(batch.schema.field(counted).type):
        lengths = pc.list_value_length(batch.column(counted))
        batch = batch.set_column(batch.schema.get_field_index(counted), counted, lengths)
    return batch.to_pylist()


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:  # a ValueError: text that is not UTF-8
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no readable parquet file ({reason}): give another file of rollouts.") from None
