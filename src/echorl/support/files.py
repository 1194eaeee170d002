"""Files that are written in one move, and JSON files that keep a value together with its settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echorl.support.texts import parse_json

SCRATCH = re.compile(r"\.echorl-[0-9a-f]{16}\.tmp")
"""Names of scratch files; no other program and no user gives such a name to a file."""
RUNS = "runs"
"""The folder in which commands write by default."""
TAIL_BYTES = 1 << 18
"""Bytes that are read from the end of a metrics file; a line has some kilobytes."""


def is_missing_path(name: str) -> bool:
    """Return whether a name is by its form a path, not one on the hub (`name` or `owner/name`), and nothing is there.

    >>> is_missing_path("./no-model"), is_missing_path("runs/no-model"), is_missing_path("owner/no-model")
    (True, True, False)
    """
    folder, slash, _ = name.partition("/")
    starts_as_path = name.startswith((".", "/", "~")) or (slash and (folder == RUNS or os.path.isdir(folder)))
    return bool(starts_as_path or name.count("/") > 1) and not os.path.exists(name)


def read_bytes(path: Path) -> bytes | None:
    """Return the content of a file; None where there is no file.

    Raises:
        ValueError: the file cannot be read at all.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another folder.") from None


def hash_bytes(data: bytes) -> str:
    """Return a hash that tells whether a file has changed."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None where there is no file, or no whole object in it.

    Raises:
        ValueError: the file cannot be read at all.
    """
    data = read_bytes(path)
    try:
        value = None if data is None else parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """Yield a new, empty file in the folder, under a random name; it is deleted at the end."""
    path = folder / f".echorl-{secrets.token_hex(8)}.tmp"
    path.touch(exist_ok=False)  # O_EXCL: it neither opens a file that exists nor follows a link
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def is_scratch(name: str) -> bool:
    """Return whether a file of this name is a scratch file, which a kill may have left.

    >>> is_scratch(".echorl-0123456789abcdef.tmp"), is_scratch("notes.tmp")
    (True, False)
    """
    return SCRATCH.fullmatch(name) is not None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file to be written, which replaces `path` in one move at the end.

    A kill or a power cut leaves the old file or the new one, and an exception the old one. A link at `path` is
    replaced, not followed.
    """
    with scratch_in(path.parent) as scratch:
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())  # else the name may reach the disk before the content does
        os.replace(scratch, path)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to be filled, which becomes `path` in one move at the end; `path` must not exist yet."""
    scratch = path.parent / f".echorl-{secrets.token_hex(8)}.tmp"
    scratch.mkdir(parents=True)
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one move."""
    with replacing(path) as scratch:
        scratch.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a file as UTF-8, in one move."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as JSON, in one move."""
    write_text(path, json.dumps(value) + "\n")


def write_value(path: Path, key: Mapping[str, Any], value: Any) -> None:
    """Write a value (JSON) together with the key that it depends on and a hash of the value, in one move."""
    write_json(path, {"key": key, "value": value, "hash": hash_bytes(json.dumps(value).encode())})


def stored(path: Path, key: Mapping[str, Any]) -> Any:
    """Return the value of a JSON file; None under another key, or where it was changed since `write_value` wrote it."""
    record = read_json(path) or {}
    value = record.get("value")
    is_as_written = record.get("hash") in (None, hash_bytes(json.dumps(value).encode()))
    return value if record.get("key") == key and is_as_written else None


def cached(path: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """Return the value stored under this key; without one, that of `make()`, which is then stored."""
    value = stored(path, key)
    if value is None:
        value = make()
        write_json(path, {"key": key, "value": value})
    return value


def last_value(path: Path, name: str) -> Any:
    """Return the last value of `name` in a metrics file (one JSON object a line); None where there is none.

    The file is read from its end, so that a long run costs no more. A line that is being written is skipped.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            value = json.loads(line).get(name)
        except ValueError:
            continue
        if value is not None:
            return value
    return None
