"""The file of clips that `echorl mine` writes, as JSONL or parquet."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echorl.lab.mine.clips import COLUMNS
from echorl.support.files import replacing


def write_clips(folder: Path, rows: Iterator[dict[str, Any]], format: str) -> Path:
    """Write clips to the folder's clips.jsonl or clips.parquet, in one move, and return its path."""
    path = folder / f"clips.{format}"
    with replacing(path) as scratch:
        (_write_jsonl if format == "jsonl" else _write_parquet)(scratch, rows)
    return path


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in COLUMNS}) + "\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write parquet with a row group for every thousand clips; messages and the other candidates as JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, "string" if kind == "json" else kind) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(path, schema) as writer:
        while batch := [_flat(row) for row in itertools.islice(rows, 1000)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    as_json = [name for name, kind in COLUMNS.items() if kind == "json" and not isinstance(row[name], str)]
    return {**row, **{name: json.dumps(row[name]) for name in as_json}}
