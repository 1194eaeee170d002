"""Rows of a data set: from the hub, or from local Parquet, JSONL or CSV files. No message quotes what a row says."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echorl.support.texts import parse_json

Row = dict[str, Any]


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid:
        raise ValueError(f"{path} is not a Parquet file; download it again, or give it its own suffix") from None


def _read_jsonl(path: Path) -> list[Row]:
    lines = path.read_bytes().splitlines()  # bytes: text that isn't UTF-8 is then its line's error
    return [_read_object(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _read_object(line: bytes, place: str) -> Row:
    try:
        row = parse_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise ValueError(f"{place}: not a JSON object in UTF-8; each line is one row")
    return row


def _read_csv(path: Path) -> list[Row]:
    csv.field_size_limit(2**31 - 1)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError):
        raise ValueError(
            f"{path} is not a CSV file in UTF-8; give one with the columns' names in its first line"
        ) from None
    if (number := next((number for number, row in enumerate(rows) if None in row), None)) is not None:
        raise ValueError(f"{path}, row {number}: more fields than there are columns; put quotes around texts")
    return rows


READERS: Mapping[str, Callable[[Path], list[Row]]] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}
"""A file's suffix -> what reads it."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """One split of one data set: where it is on the hub, and what its files are called in a local folder."""

    hub_id: str
    config: str | None = None
    split: str = "test"
    stems: tuple[str, ...] = ()
    """Names, without suffix, of files that hold this split beside other data sets' files."""
    readers: Mapping[str, Callable[[Path], list[Row]]] = field(default_factory=lambda: READERS)
    """A file's suffix -> what reads it."""

    def rows(self, data: str | None, *, own: bool = False) -> list[Row]:
        """The rows from the hub (`data` None), from a file, or from the files found in a folder; at least one.

        `own`: a folder holds this data set alone, whatever its name. Otherwise it may hold many, and
        "test.parquet" counts in a folder named after this one only.

        Raises:
            ValueError: nothing there, or nothing that can be read; names the path or the hub's id, and the fix.
        """
        return [row for _, rows in self.parts(data, own=own) for row in rows]

    def parts(self, data: str | None, *, own: bool = False) -> list[tuple[str, list[Row]]]:
        """What `rows` gives, file by file: (its path or the hub's id, its rows, at least one)."""
        if data is None:
            return [(self.hub_id, hub_rows(self.hub_id, self.config, self.split))]
        files = self.files(Path(data), own=own)
        parts = [(str(file), rows) for file in files if (rows := self.readers[file.suffix](file))]
        if not parts:
            raise ValueError(f"{data} holds no rows; give a file that does")
        return parts

    def files(self, path: Path, *, own: bool = False) -> list[Path]:
        """The file itself, or the split's files in a folder (several shards in order)."""
        if path.is_file():
            if path.suffix not in self.readers:
                raise ValueError(f"{path}: unknown kind of file; give one that ends in {_either(self.readers)}")
            return [path]
        if not path.is_dir():
            raise ValueError(f"no file or folder {path}; give one with the rows of {self.hub_id}")
        found = _first(path, self.stems, self.readers) or self._in_own_folders(path, own)
        if not found:
            names = [*self.stems, f"{self.hub_id.rpartition('/')[2]}/{self.split}"]
            raise ValueError(
                f"{path} has no rows of {self.hub_id}; put them there as {_either(names)} with the suffix "
                f"{_either(self.readers)}, or give the file itself"
            )
        return found

    def _in_own_folders(self, path: Path, own: bool) -> list[Path]:
        """Files of the hub's repository, as `hf download --local-dir` leaves them, or named like its splits."""
        names = {_plain(name) for name in (self.hub_id.rpartition("/")[2], *self.stems)}
        folders = [path] if own or _plain(path.resolve().name) in names else []
        folders += [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _plain(folder.name) in names]
        for folder in folders:
            for place in (folder, folder / "data", folder / (self.config or ".")):
                if found := _first(place, (self.split, f"{self.split}-*"), self.readers):
                    return found
            if found := _first(folder, [f"**/{stem}" for stem in self.stems], self.readers):
                return found
        return []


def hub_rows(hub_id: str, config: str | None, split: str) -> list[Row]:
    """A split of a data set on the hub, images as bytes.

    Raises:
        ValueError: not found, gated, or no network; says what to do.
    """
    from datasets import Image, List, load_dataset
    from datasets.exceptions import DatasetNotFoundError

    local = "or give its rows as a local file or folder"
    try:
        rows = load_dataset(hub_id, config, split=split)
    except DatasetNotFoundError as error:
        if "gated" in str(error):
            raise ValueError(
                f"{hub_id} is gated: accept its terms at https://huggingface.co/datasets/{hub_id} and log in "
                f"(hf auth login), {local}"
            ) from None
        raise ValueError(f"the hub has no dataset {hub_id}: check your login (hf auth login), {local}") from None
    except (ConnectionError, TimeoutError) as error:
        raise ValueError(f"{hub_id} cannot be reached ({type(error).__name__}): check the network, {local}") from None
    for name, kind in rows.features.items():
        if isinstance(kind, Image):
            rows = rows.cast_column(name, Image(decode=False))
        elif isinstance(kind, List) and isinstance(kind.feature, Image):
            rows = rows.cast_column(name, List(Image(decode=False)))
    return list(rows)


def check_columns(row: Row, layouts: Sequence[Sequence[str]], place: str) -> int:
    """The first of these layouts, each a list of columns, that the row has.

    Raises:
        ValueError: it has none of them; names the place, what is missing, and what is expected. The row's own columns
            are named only if one is known: without a line of names a CSV's first item would stand for them.
    """
    for index, columns in enumerate(layouts):
        if all(column in row for column in columns):
            return index
    nearest = max(layouts, key=lambda columns: sum(column in row for column in columns))
    missing = ", ".join(repr(column) for column in nearest if column not in row)
    expected = " or ".join(f"({', '.join(columns)})" for columns in layouts)
    known = any(column in row for columns in layouts for column in columns)
    found = ", ".join(row) if known else f"{len(row)} others (does a CSV's first line hold the columns' names?)"
    raise ValueError(f"{place}: no column {missing}; expected {expected}, found {found}")


def _first(folder: Path, patterns: Iterable[str], suffixes: Iterable[str]) -> list[Path]:
    """The files of the first pattern that has any; none where there is no such folder."""
    for pattern in patterns:
        for suffix in suffixes:
            if found := sorted(folder.glob(f"{pattern}{suffix}")):
                return found
    return []


def _plain(name: str) -> str:
    """The name in lower case without marks.

    >>> _plain("MATH-500")
    'math500'
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
