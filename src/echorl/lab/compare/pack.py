"""A study in one file, NAME.jsonl.gz: its plan, and the JSON files of every finished run that the tables need.

The first line is the header, every other line a run: {"run": "ARM/rate-*/seed-*", "files": {"run.json": ..., ...}}.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, check
from echorl.support.files import replacing
from echorl.support.texts import parse_json

ENDING = ".jsonl.gz"
KIND = "packed study"
FORMAT = 1
FILE = re.compile(r"run\.json|scores-[\w.-]+\.json")
"""Names of a run's files in a pack, from which the tables are made."""
HEADER = {"echorl": str, "format": int, "runs": int, "plan": dict, "methods": Each(dict)}
KEPT = {"key": dict, "value": Maybe(dict)}
RUN = {"run": str, "files": Each(KEPT)}

Files = Mapping[str, Mapping[str, Any]]
"""Name of a file -> the object in it."""


@dataclass(frozen=True)
class Pack:
    """A packed study.

    Attributes:
        path: the file.
        plan: the options of the comparison.
        methods: arm -> `method`, `echo_coef` and `echo_select`, as the training read them.
        runs: name of a run -> its files.
    """

    path: Path
    plan: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Files] = field(default_factory=dict)

    def write(self) -> None:
        """Write the file in one move. The same runs give the same bytes, in any order."""
        header = {"echorl": KIND, "format": FORMAT, "runs": len(self.runs), "plan": self.plan, "methods": self.methods}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(self.path) as scratch,
            scratch.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file,
        ):
            file.write(_line(header))
            for name, files in sorted(self.runs.items()):
                file.write(_line({"run": name, "files": dict(sorted(files.items()))}))


def pack_path(folder: str | Path) -> Path:
    """Return the path of the pack of a study's output folder: beside the folder, with its name."""
    place = Path(os.path.abspath(folder)) if Path(folder).name in ("", "..") else Path(folder)
    return place.with_name(place.name + ENDING)


def is_pack(path: Path) -> bool:
    """Return whether a path has the name of a packed study.

    >>> is_pack(Path("runs/study.jsonl.gz")), is_pack(Path("study.yaml"))
    (True, False)
    """
    return path.name.endswith(ENDING)


def read_pack(path: Path) -> Pack:
    """Return the packed study in a file.

    Raises:
        ValueError: the file does not exist, is damaged, or is not a packed study.
    """
    lines = _lines(path)
    header = next(lines)
    runs: dict[str, Files] = {}
    for line in lines:
        if line["run"] in runs:
            raise _damaged(path, f"it has the run {line['run']} twice")
        runs[line["run"]] = line["files"]
    return Pack(path, header["plan"], header["methods"], runs)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the header, then the runs; the errors are those of `read_pack`."""
    expected = number = 0
    try:
        with gzip.open(path, "rb") as file:
            for number, text in enumerate(file, 1):
                line = parse_json(text)
                if number == 1:
                    _check_header(path, line)
                    expected = line["runs"]
                else:
                    _check_run(line)
                yield line
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; `echorl compare STUDY.yaml --pack` writes one.") from None
    except _Foreign as error:
        raise ValueError(str(error)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise _damaged(path, f"after {number} lines: {error}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another file.") from None
    if number != expected + 1:
        raise _damaged(path, f"it has {max(0, number - 1)} runs, and its first line says {expected}")


class _Foreign(Exception):
    """Error for a whole file that this version does not read."""


def _check_header(path: Path, line: Any) -> None:
    if not isinstance(line, dict) or line.get("echorl") != KIND:
        raise _Foreign(f"{path} is not a packed study: give a file that `echorl compare STUDY.yaml --pack` wrote.")
    if line.get("format") != FORMAT:
        raise _Foreign(
            f"{path} has format {line.get('format')!r}, and this version of echorl reads format {FORMAT}: install the "
            "version that wrote it."
        )
    check(line, HEADER)


def _check_run(line: Any) -> None:
    check(line, RUN)
    if unknown := [name for name in line["files"] if not FILE.fullmatch(name)]:
        raise ValueError(f"{unknown[0]!r} is no name of a run's file")
    if "run.json" not in line["files"]:
        raise ValueError(f"the run {line['run']!r} lacks its run.json")


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(f"{path} is damaged ({reason}): get the file again from where it came from.")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"
