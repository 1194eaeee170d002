"""Ways in which a file can be damaged, by its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

DEEP = 100_000


def ways(path: Path) -> dict[str, Callable[[Path], None]]:
    """Name -> what damages the file in that way."""
    kinds = {".json": _of_json, ".jsonl": _of_json, ".yaml": _of_yaml, ".parquet": _of_parquet, ".pt": lambda path: {}}
    own = kinds[path.suffix](path)
    return {
        "empty": lambda path: path.write_bytes(b"") and None,
        "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) and None,
        "binary": lambda path: path.write_bytes(bytes(range(256)) * 4) and None,
        "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()) and None,
        "deep": lambda path: path.write_bytes(b"[" * DEEP + b"]" * DEEP) and None,
        "a folder": _to_folder,
        **own,
    }


def _to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _of_json(path: Path) -> dict[str, Callable[[Path], None]]:
    changes = {
        "a list": lambda value: [value],
        "a number": lambda value: 5,
        "a text": lambda value: "text",
        "no names": lambda value: {},
        "nulls": lambda value: dict.fromkeys(value),
        "numbers": lambda value: dict.fromkeys(value, 5),
        "lists": lambda value: {name: [1] for name in value},
        "huge": lambda value: _replace_numbers(value, 1e308),
        "400 digits": lambda value: _replace_numbers(value, 10**400),
        "not a number": lambda value: _replace_numbers(value, float("nan")),
    }
    return {name: _first_line(change) for name, change in changes.items()}


def _first_line(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([json.dumps(change(json.loads(first))), *rest]) + "\n", encoding="utf-8")

    return damage


def _replace_numbers(value: Any, number: float) -> Any:
    if isinstance(value, dict):
        return {name: _replace_numbers(each, number) for name, each in value.items()}
    if isinstance(value, list):
        return [_replace_numbers(each, number) for each in value]
    return number if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _of_yaml(path: Path) -> dict[str, Callable[[Path], None]]:
    texts = {
        "a list": "- 1\n",
        "a number": "5\n",
        "a number as a name": path.read_text(encoding="utf-8") + "\n5: 6\n",
        "a list as a name": "? [1]\n: 2\n",
        "itself": "a: &a [*a]\n",
        "no date": "a: 2001-99-99\n",
        "a tag": "a: !!python/object:os.system {}\n",
        "NUL": "a: \x00\n",
    }
    found = {
        name: lambda path, text=text: path.write_text(text, encoding="utf-8") and None for name, text in texts.items()
    }
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for name, value in (
        ("nulls", None),
        ("lists", [[1]]),
        ("huge", 1e308),
        ("texts", "text"),
        ("names", {"a": {5: 6}}),
    ):
        found[name] = lambda path, value=value: path.write_text(yaml.safe_dump(dict.fromkeys(values, value))) and None
    return found


def _of_parquet(path: Path) -> dict[str, Callable[[Path], None]]:
    rows = pq.read_table(path).to_pylist()
    changes: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "other columns": lambda row: {"x": 1},
        "nulls": dict.fromkeys,
        "numbers": lambda row: dict.fromkeys(row, 5),
        "texts": lambda row: dict.fromkeys(row, "text"),
        "lists": lambda row: {name: [1] for name in row},
        "huge": lambda row: _replace_numbers(row, 1e308),
    }

    def write(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
        return lambda path: pq.write_table(pa.Table.from_pylist([change(row) for row in rows]), path)

    return {**{name: write(change) for name, change in changes.items()}, "no rows": _without_rows}


def _without_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def nodes(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a JSON value's parts: of a list's or an object's the first two."""
    yield place
    if isinstance(value, (dict, list)):
        inside = list(value) if isinstance(value, dict) else range(len(value))
        names = inside if len(inside) < 30 and isinstance(value, dict) else inside[:2]
        for name in names:
            yield from nodes(value[name], (*place, name))


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    """The value with the part at that place replaced; where `new` is `...` without it."""
    if not place:
        return {} if new is ... else new
    name, rest = place[0], place[1:]
    if isinstance(value, list):
        return [replaced(each, rest, new) if i == name and (rest or new is not ...) else each
                for i, each in enumerate(value) if rest or new is not ... or i != name]  # fmt: skip
    if not rest and new is ...:
        return {key: each for key, each in value.items() if key != name}
    return {key: replaced(each, rest, new) if key == name else each for key, each in value.items()}
