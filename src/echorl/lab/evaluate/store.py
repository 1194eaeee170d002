"""Folder of an evaluation: settings, one file a chunk of samples, one file of scored samples a benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, read_object
from echorl.support.files import replacing
from echorl.support.folder import Parts, ResultFolder
from echorl.support.texts import parse_json

RESULTS = "results.json"
COLUMNS = {
    "benchmark": "string", "item": "string", "sample": "int32", "response": "string", "tokens": "int32",
    "truncated": "bool", "answer": "string", "score": "float64", "reason": "string", "reference_answer": "string",
}  # fmt: skip
"""Columns of a file of samples: a chunk has no scores yet, a private benchmark no `response` or `reference_answer`."""
META = b"echorl"
Rows = list[dict[str, Any]]


class Store(ResultFolder):
    """Folder of an evaluation."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "eval", holds="samples made")

    def claim_for(
        self,
        model: str,
        common: Mapping[str, Any],
        benchmarks: Mapping[str, Mapping[str, Any]],
        versions: Mapping[str, str],
    ) -> None:
        """Claim the folder for this evaluation, and add benchmarks that are new to it.

        `model` is a name to show; the `versions` of every call are recorded.

        Raises:
            ValueError: the folder holds something else, or samples with other settings; the message names the first.
        """
        self.check_owner()
        self.path.mkdir(parents=True, exist_ok=True)
        before = self.settings() or {"model": model, "common": common, "benchmarks": {}, "versions": []}
        self.check_settings(before["common"], common)
        for name, key in benchmarks.items():
            self.check_settings(before["benchmarks"].get(name, key), key, f"{name}: ")
        recorded = before["versions"] if versions in before["versions"] else [*before["versions"], versions]
        self.record({**before, "benchmarks": {**before["benchmarks"], **benchmarks}, "versions": recorded})

    def check_early_for(self, common: Mapping[str, Any], benchmarks: Mapping[str, Mapping[str, Any]]) -> None:
        """Check the owner and those settings of `claim_for` that are known before the model is read.

        Raises:
            ValueError: as of `claim_for`.
        """
        self.check_owner()
        if before := self.settings():
            self.check_part(before["common"], common)
            for name, key in benchmarks.items():
                self.check_part(before["benchmarks"].get(name, {}), key, f"{name}: ")

    def settings(self) -> dict[str, Any] | None:
        """Return the record of `claim_for`; None where there is none.

        Raises:
            ValueError: another program wrote the file.
        """
        shape = {"model": Maybe(str), "common": dict, "benchmarks": Each(dict), "versions": [dict]}
        return read_object(self.path / self.mark, shape, "echorl eval")

    def parts(self, benchmark: str) -> Parts:
        """Return the parts with the samples of a benchmark's chunks, which exist until all samples are scored."""
        folder = self.path / "parts" / slug(benchmark)
        return Parts(folder, ".parquet", _write_table, lambda path: read_samples(path)[0])

    def samples(self, benchmark: str) -> Path:
        """Return the path of a benchmark's scored samples, which is written when all samples are scored."""
        return self.path / "samples" / f"{slug(benchmark)}.parquet"


def evaluation_in(place: Path) -> Store:
    """Return the folder of an evaluation, which its results.json stands for, too.

    Raises:
        ValueError: it is none.
    """
    store = Store(place.parent if place.name == RESULTS else place)
    if store.settings() is None:
        raise ValueError(
            f"{place} is no folder of an evaluation (it has no {store.mark}): give an output_dir of `eval`."
        )
    return store


def slug(benchmark: str) -> str:
    """Return a benchmark's name as the name of a file.

    >>> slug("word_problems:harder")
    'word_problems-harder'
    """
    return benchmark.replace(":", "-").replace("/", "-")


def write_samples(path: Path, rows: Rows, meta: Mapping[str, Any]) -> None:
    """Write rows as parquet in one move, with `meta` (JSON) in the schema; columns are those of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as scratch:
        _write_table(scratch, rows, meta)


def _write_table(path: Path, rows: Rows, meta: Mapping[str, Any] | None = None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, kind) for name, kind in _arrow_types().items() if name in rows[0]]
    schema = pa.schema(fields, metadata={META: json.dumps(meta or {}).encode()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _arrow_types() -> dict[str, Any]:
    """Return the type of each column."""
    import pyarrow as pa

    return {name: pa.type_for_alias(kind) for name, kind in COLUMNS.items()}


def read_samples(path: Path, columns: Sequence[str] | None = None) -> tuple[Rows, dict[str, Any]]:
    """Return (rows, meta) of a file that `write_samples` wrote, with those of `columns` that it has.

    Raises:
        ValueError: the file does not exist, is damaged, or was written by something else.
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
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no readable parquet file ({reason}): delete it or give another.") from None
    if not is_ours or meta is None:
        raise ValueError(f"{path} was not written by `echorl eval`: give the samples of an evaluation.")
    return rows, parse_json(meta)
