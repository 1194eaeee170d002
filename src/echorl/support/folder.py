"""Folder with the results of one command: its owner, its settings, its finished parts, and a lock."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.support.errors import UserError
from echorl.support.files import hash_bytes, is_scratch, read_bytes, read_json, replacing, write_json
from echorl.support.texts import parse_json

SETTINGS = "settings.json"
LOCK = ".lock"


class ResultFolder:
    """Folder that one command writes to, with one set of settings, in one process at a time.

    The folder belongs to a command if the file with the command's settings lies in it. Every file is written in one
    move, so that a kill leaves the old file or the new one, and the same command goes on from the finished parts.

    Args:
        path: the folder; it need not exist.
        command: name of the command, such as "mine".
        holds: words for its results in a message, such as "clips made".
        mark: name of the file with the settings.
    """

    def __init__(self, path: str | Path, command: str, *, holds: str = "results", mark: str = SETTINGS) -> None:
        self.path, self.command, self.holds, self.mark = Path(path), command, holds, mark

    def check_writable(self) -> None:
        """Make the folder and a file in it, before anything that takes time.

        Raises:
            UserError: the folder cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise UserError(
                f"output_dir={str(self.path)!r} cannot be written ({error.strerror}): give another."
            ) from None

    @contextmanager
    def locked(self, *, wait: float = 0) -> Iterator[None]:
        """Make the folder and keep other processes of the command out of it; delete scratch files of killed ones.

        The operating system ends the lock with the process, however that ends.

        Args:
            wait: seconds to wait for another process that holds the lock.

        Raises:
            UserError: another process holds the lock, or the folder cannot be written to.
        """
        from filelock import FileLock, Timeout

        self.check_writable()
        try:
            lock = FileLock(self.path / LOCK).acquire(timeout=wait)
        except Timeout:
            raise UserError(
                f"another `echorl {self.command}` is at work in {self.path}: let it end, or give another --output_dir."
            ) from None
        with lock:
            remove_scratch(self.path)
            yield

    def settings(self) -> dict[str, Any] | None:
        """Return the recorded settings; None where the folder is not the command's."""
        return read_json(self.path / self.mark)

    def record(self, settings: Mapping[str, Any]) -> None:
        """Write the settings, which makes the folder the command's."""
        write_json(self.path / self.mark, settings)

    def check_owner(self) -> None:
        """Check that the folder is the command's, or empty, or does not exist yet.

        Raises:
            ValueError: it is a file, or holds files of something else, of which the message names one.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"output_dir={str(self.path)!r} is a file: give another.")
        if self.settings() is None and (names := contents(self.path)):
            raise ValueError(
                f"{self.path} holds files that `echorl {self.command}` did not write ({names[0]}): give another "
                "output_dir."
            )

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder and record the settings, or check that those of an earlier call are equal.

        Raises:
            ValueError: the folder holds files of something else, or results with other settings.
        """
        self.check_owner()
        before = self.settings()
        if before is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self.record(settings)
        else:
            self.check_settings(before, settings)

    def check_early(self, settings: Mapping[str, Any]) -> None:
        """Check the owner and those settings that are known before the others, as `claim` will, and change nothing.

        Raises:
            ValueError: as of `claim`.
        """
        self.check_owner()
        self.check_part(self.settings() or {}, settings)

    def check_part(self, before: Mapping[str, Any], part: Mapping[str, Any], place: str = "") -> None:
        """Check some of the present settings, as `check_settings`; those that are None are not known yet."""
        names = [name for name, value in part.items() if value is not None and name in before]
        self.check_settings({name: before[name] for name in names}, {name: part[name] for name in names}, place)

    def check_settings(self, before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> None:
        """Check that recorded settings are equal to the present ones.

        Args:
            place: text before a setting's name in the message.

        Raises:
            ValueError: a setting differs; the message names the first.
        """
        check_equal(f"{self.path} holds {self.holds}", before, now, place)


def check_equal(holds: str, before: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> None:
    """Check that results were made with the present settings; `holds` begins the message.

    Raises:
        ValueError: a setting differs; the message names the first.
    """
    if difference := _difference(before, now):
        raise ValueError(
            f"{holds} with other settings ({place}{difference}): give another output_dir, or the settings as they were."
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            if inside := _difference(old, new):
                return inside
        elif old != new:
            return f"{name} {old!r} then, {new!r} now"
    return None


def contents(folder: Path) -> list[str]:
    """Return the sorted names in the folder without the lock and scratch files; an empty list without a folder."""
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(name for name in names if name != LOCK and not is_scratch(name))


def remove_scratch(folder: Path) -> None:
    """Delete the scratch files that killed commands have left in the folder. The caller must hold its lock.

    The same holds for folders below it, except those with a lock of their own: another command may work there.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not Path(place, name, LOCK).exists()]
        for name in filter(is_scratch, names):
            Path(place, name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Parts:
    """Finished parts of a result: numbered files, each with a note that holds its key and a hash of its bytes.

    The key has everything that the part depends on.

    A part counts as missing, and is made again, where its note is missing, has another key or another hash.

    Attributes:
        folder: the folder of the parts alone; it is made with the first part.
        suffix: ending of their names, such as ".pt".
        write: writes a value to a file.
        read: reads it from there.
    """

    folder: Path
    suffix: str
    write: Callable[[Path, Any], object]
    read: Callable[[Path], Any]

    def path(self, index: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"{index:06d}{self.suffix}"

    def has(self, index: int, key: Mapping[str, Any]) -> bool:
        """Return whether a part is finished, under this key (JSON).

        Raises:
            ValueError: a file cannot be read at all.
        """
        note, data = read_json(self._note(index)), read_bytes(self.path(index))
        return data is not None and note == _note_of(key, data)

    def load(self, index: int) -> Any:
        """Return the value of a finished part."""
        return self.read(self.path(index))

    def save(self, index: int, key: Mapping[str, Any], value: Any) -> None:
        """Write a part, then its note."""
        path = self.path(index)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            self.write(scratch, value)
        write_json(self._note(index), _note_of(key, path.read_bytes()))

    def ensure(self, index: int, key: Mapping[str, Any], make: Callable[[], Any]) -> None:
        """Make and write a part, unless it is finished."""
        if not self.has(index, key):
            self.save(index, key, make())

    def remove(self) -> None:
        """Delete all parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, index: int) -> Path:
        return self.folder / f"{index:06d}.key.json"


def json_parts(folder: Path) -> Parts:
    """Return parts that are JSON files."""
    return Parts(
        folder,
        ".json",
        write=lambda path, value: path.write_text(json.dumps(value) + "\n", encoding="utf-8"),
        read=lambda path: parse_json(path.read_bytes()),
    )


def _note_of(key: Mapping[str, Any], data: bytes) -> dict[str, Any]:
    return {"key": key, "hash": hash_bytes(data)}
