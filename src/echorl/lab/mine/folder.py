"""The folder of `echorl mine`: settings, one file a part until all are there, then the clips and the summary."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from echorl.lab.mine.clips import COLUMNS
from echorl.support.output_folder import SETTINGS, check_empty, claim
from echorl.support.stored import cached, read_json, replacing, stored, write_json

SUMMARY = "summary.json"
COMMAND = "`echorl mine`"
Part = dict[str, Any]
"""{"clips": rows, "counts": of `clips.count`}"""


class MinedFolder:
    """The folder's files; each is written in one move, so that a kill leaves the old one, or the new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self) -> None:
        """See that the folder is one of `echorl mine`.

        Raises:
            ValueError: it holds files that `echorl mine` did not write.
        """
        if not isinstance(read_json(self.folder / SETTINGS), dict):
            check_empty(self.folder, COMMAND)

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder these settings'.

        Raises:
            ValueError: it holds clips made with others; the message names the first that differs.
        """
        claim(self.folder, settings, command=COMMAND, holds="clips made")

    def part(self, index: int, key: Mapping[str, Any], make: Callable[[], Part]) -> Part:
        """A part, made if it isn't there."""
        (self.folder / "parts").mkdir(exist_ok=True)
        return cached(self._part(index), key, make)

    def parts(self, count: int, key: Mapping[str, Any]) -> Iterator[Part]:
        """All parts in order, one in memory at a time."""
        return (stored(self._part(index), key) for index in range(count))

    def _part(self, index: int) -> Path:
        return self.folder / "parts" / f"{index:06d}.json"

    def summary(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The summary, if all was finished."""
        return stored(self.folder / SUMMARY, key)

    def finish(self, rows: Iterator[dict[str, Any]], format: str) -> Path:
        """Write all clips. Returns the file."""
        path = self.folder / f"clips.{format}"
        with replacing(path) as scratch:
            (_write_jsonl if format == "jsonl" else _write_parquet)(scratch, rows)
        return path

    def write_summary(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        """The last file to be written."""
        write_json(self.folder / SUMMARY, {"key": key, "value": value})

    def clean(self) -> None:
        """Delete what a finished run has no need of."""
        shutil.rmtree(self.folder / "parts", ignore_errors=True)


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in COLUMNS}) + "\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Parquet with a row group for every thousand clips; messages and the other candidates as JSON text."""
    import itertools

    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"string": pa.string(), "json": pa.string(), "int32": pa.int32(), "int64": pa.int64()}
    schema = pa.schema([(name, kinds.get(kind, pa.float64())) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(path, schema) as writer:
        while batch := [_flat(row) for row in itertools.islice(rows, 1000)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    asked = [name for name, kind in COLUMNS.items() if kind == "json" and not isinstance(row[name], str)]
    return {**row, **{name: json.dumps(row[name]) for name in asked}}
