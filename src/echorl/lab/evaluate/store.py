"""An evaluation's folder: settings, one file a chunk of samples, one file of scored samples a benchmark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.checked import Each, Maybe, read_object
from echorl.support.output_folder import SETTINGS, check_empty, check_same
from echorl.support.stored import replacing, write_json
from echorl.support.texts import parse_json

if TYPE_CHECKING:
    from echorl.lab.evaluate.plan import Chunk

RESULTS = "results.json"
COLUMNS = {
    "benchmark": "string", "item": "string", "sample": "int32", "response": "string", "tokens": "int32",
    "truncated": "bool", "answer": "string", "score": "float64", "reason": "string", "reference_answer": "string",
}  # fmt: skip
"""Columns of a file of samples: a chunk has no scores yet, a private benchmark no `response` or `reference_answer`."""
META = b"echorl"
Rows = list[dict[str, Any]]


class Store:
    """The folder's files; each is written in one move, so that a kill leaves the old one, or the new one."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def claim(
        self,
        model: str,
        common: Mapping[str, Any],
        benchmarks: Mapping[str, Mapping[str, Any]],
        versions: Mapping[str, str],
    ) -> None:
        """Make the folder this evaluation's; benchmarks that are new to it are added.

        `model` is a name to show; the `versions` of every call are kept, as a record.

        Raises:
            ValueError: it holds something else, or samples made with other settings; the message names the first.
        """
        found = self.settings()
        if found is None:
            check_empty(self.folder, "`echorl eval`")
            self.folder.mkdir(parents=True, exist_ok=True)
            found = {"model": model, "common": common, "benchmarks": {}, "versions": []}
        check_same(self.folder, "samples made", found["common"], common)
        for name, key in benchmarks.items():
            check_same(self.folder, "samples made", found["benchmarks"].get(name, key), key, f"{name}: ")
        used = found["versions"] if versions in found["versions"] else [*found["versions"], versions]
        merged = {**found["benchmarks"], **benchmarks}
        write_json(self.folder / SETTINGS, {**found, "benchmarks": merged, "versions": used})

    def settings(self) -> dict[str, Any] | None:
        """What `claim` wrote; None where nothing did.

        Raises:
            ValueError: another program wrote the file.
        """
        shape = {"model": Maybe(str), "common": dict, "benchmarks": Each(dict), "versions": [dict]}
        return read_object(self.folder / SETTINGS, shape, "echorl eval")

    def part(self, benchmark: str, index: int) -> Path:
        """A chunk's samples, until all are scored."""
        return self.folder / "parts" / slug(benchmark) / f"{index:06d}.parquet"

    def samples(self, benchmark: str) -> Path:
        """All of a benchmark's samples with their scores."""
        return self.folder / "samples" / f"{slug(benchmark)}.parquet"

    def read_part(self, benchmark: str, chunk: Chunk) -> Rows:
        """A chunk's samples.

        Raises:
            ValueError: the file is damaged, or holds other samples.
        """
        path = self.part(benchmark, chunk.index)
        rows, _ = read_samples(path)
        wanted = [(request.item.id, request.sample) for request in chunk.requests]
        if [(row["item"], row["sample"]) for row in rows] != wanted:
            raise ValueError(f"{path} holds other samples than its chunk's: delete it and run the same command again.")
        return rows

    def is_finished(self, benchmark: str) -> bool:
        """Whether all samples are there with their scores."""
        return self.samples(benchmark).exists()

    def finish(self, benchmark: str, rows: Rows, meta: Mapping[str, Any]) -> None:
        """Store a benchmark's scored samples; the chunks' files are then not needed any more."""
        write_samples(self.samples(benchmark), rows, meta)
        self.drop_parts(benchmark)

    def drop_parts(self, benchmark: str) -> None:
        """Delete the chunks' files; there may be some beside the scored samples if a run was killed just then."""
        shutil.rmtree(self.part(benchmark, 0).parent, ignore_errors=True)


def slug(benchmark: str) -> str:
    """A benchmark's name as that of a file.

    >>> slug("word_problems:harder")
    'word_problems-harder'
    """
    return benchmark.replace(":", "-").replace("/", "-")


def write_samples(path: Path, rows: Rows, meta: Mapping[str, Any]) -> None:
    """Write rows as parquet, with `meta` (JSON) in the schema's metadata; columns are those of the first row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, kind) for name, kind in _arrow_types().items() if name in rows[0]]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields, metadata={META: json.dumps(meta).encode()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        pq.write_table(table, scratch)


def _arrow_types() -> dict[str, Any]:
    """Column -> its type."""
    import pyarrow as pa

    kinds = {"string": pa.string(), "int32": pa.int32(), "bool": pa.bool_(), "float64": pa.float64()}
    return {name: kinds[kind] for name, kind in COLUMNS.items()}


def read_samples(path: Path, columns: Sequence[str] | None = None) -> tuple[Rows, dict[str, Any]]:
    """(rows, meta) of a file that `write_samples` wrote; `columns` of those that there are.

    Raises:
        ValueError: there is no such file, it is damaged, or something else wrote it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, types = file.schema_arrow, _arrow_types()
            meta = (schema.metadata or {}).get(META)
            is_ours = meta is not None and all(field.type == types.get(field.name) for field in schema)
            names = [name for name in schema.names if columns is None or name in columns]
            rows = file.read(names).to_pylist() if is_ours else []
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; give the samples of an evaluation.") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{path} is no readable parquet file ({why}): delete it or give another.") from None
    if not is_ours or meta is None:
        raise ValueError(f"{path} was not written by `echorl eval`: give the samples of an evaluation.")
    return rows, parse_json(meta)
