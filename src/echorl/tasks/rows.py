"""Rows of a data set from the hub, or from local Parquet, JSONL or CSV files. No message quotes the text of a row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echorl.support.texts import parse_json

Row = dict[str, Any]
Reader = Callable[[Path], list[Row]]


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid:
        raise ValueError(
            f"{path} is not a Parquet file; download it again, or give it the suffix of its format"
        ) from None


def _read_jsonl(path: Path) -> list[Row]:
    lines = path.read_bytes().splitlines()  # bytes, so that text that is not UTF-8 is an error of its line
    return [_read_object(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _read_object(line: bytes, place: str) -> Row:
    try:
        row = parse_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise ValueError(f"{place} is not a JSON object in UTF-8; write one object a line")
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
        raise ValueError(
            f"{path}, row {number}: more fields than there are columns; put quotes around texts with commas"
        )
    return rows


READERS: Mapping[str, Reader] = {
    ".parquet": _read_parquet,
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
}
"""A file's suffix -> the function that reads it."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """Location of a split of a data set: on the hub, and the names of its files in a local folder."""

    hub_id: str
    config: str | None = None
    split: str = "test"
    stems: tuple[str, ...] = ()
    """Names, without suffix, of the split's files in a folder of many data sets."""
    readers: Mapping[str, Reader] = field(default_factory=lambda: READERS)
    """A file's suffix -> the function that reads it."""

    def rows(self, data: str | None, *, dedicated: bool = False) -> list[Row]:
        """The rows from the hub (`data` None), from a file, or from the files in a folder; at least one.

        `dedicated`: the folder holds only this data set, whatever its name. Otherwise it may hold many, and a file
        "test.parquet" is read only in a folder that is named after this data set.

        Raises:
            ValueError: the rows are missing or cannot be read; the message names the path or the hub's id, and the fix.
        """
        return [row for _, rows in self.parts(data, dedicated=dedicated) for row in rows]

    def parts(self, data: str | None, *, dedicated: bool = False) -> list[tuple[str, list[Row]]]:
        """The rows by file: (path of the file or the hub's id, its rows, at least one)."""
        if data is None:
            return [(self.hub_id, hub_rows(self.hub_id, self.config, self.split))]
        files = self.files(Path(data), dedicated=dedicated)
        parts = [(str(file), rows) for file in files if (rows := self.readers[file.suffix](file))]
        if not parts:
            raise ValueError(f"{data} holds no rows; give a file with rows")
        return parts

    def files(self, path: Path, *, dedicated: bool = False) -> list[Path]:
        """The file itself, or the split's files in a folder, its shards in order."""
        if path.is_file():
            if path.suffix not in self.readers:
                raise ValueError(f"{path} has an unknown suffix; give a file that ends in {_either(self.readers)}")
            return [path]
        if not path.is_dir():
            raise ValueError(f"there is no file or folder {path}; give one with the rows of {self.hub_id}")
        files = _first(path, self.stems, self.readers) or self._in_named_folders(path, dedicated)
        if not files:
            names = [*self.stems, f"{self.hub_id.rpartition('/')[2]}/{self.split}"]
            raise ValueError(
                f"{path} has no rows of {self.hub_id}; store them there as {_either(names)} with the suffix "
                f"{_either(self.readers)}, or give the file itself"
            )
        return files

    def _in_named_folders(self, path: Path, dedicated: bool) -> list[Path]:
        """Files of the hub's repository, as `hf download --local-dir` writes them, or with the names of its splits."""
        names = {_plain(name) for name in (self.hub_id.rpartition("/")[2], *self.stems)}
        folders = [path] if dedicated or _plain(path.resolve().name) in names else []
        folders += [folder for folder in sorted(path.iterdir()) if folder.is_dir() and _plain(folder.name) in names]
        for folder in folders:
            for place in (folder, folder / "data", folder / (self.config or ".")):
                if files := _first(place, (self.split, f"{self.split}-*"), self.readers):
                    return files
            if files := _first(folder, [f"**/{stem}" for stem in self.stems], self.readers):
                return files
        return []


def hub_rows(hub_id: str, config: str | None, split: str) -> list[Row]:
    """A split of a data set on the hub, images as bytes.

    Raises:
        ValueError: the data set is unknown or gated, or the network fails; the message says what to do.
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
    """Index of the first layout, a list of columns, that the row has.

    Raises:
        ValueError: the row has none of them; the message names the place, the missing and the expected columns. It
            names the row's columns only if one of them is expected, since a CSV without a line of names shows its
            first row in their place.
    """
    for index, columns in enumerate(layouts):
        if all(column in row for column in columns):
            return index
    nearest = max(layouts, key=lambda columns: sum(column in row for column in columns))
    missing = ", ".join(repr(column) for column in nearest if column not in row)
    expected = " or ".join(f"({', '.join(columns)})" for columns in layouts)
    has_names = any(column in row for columns in layouts for column in columns)
    names = ", ".join(row) if has_names else f"{len(row)} columns (a CSV needs the columns' names in its first line)"
    raise ValueError(f"{place} has no column {missing}; it needs {expected} and has {names}")


def _first(folder: Path, patterns: Iterable[str], suffixes: Iterable[str]) -> list[Path]:
    """The files of the first pattern that matches any; an empty list if there are none or no such folder."""
    for pattern in patterns:
        for suffix in suffixes:
            if files := sorted(folder.glob(f"{pattern}{suffix}")):
                return files
    return []


def _plain(name: str) -> str:
    """The letters and digits of the name in lower case.

    >>> _plain("MATH-500")
    'math500'
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
