"""One command at a time in a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echorl.support.errors import UserError
from echorl.support.output_folder import LOCK, remove_scratch


def check_writable(folder: str | Path) -> None:
    """Make the folder and a file in it, before anything that takes time."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"output_dir={str(folder)!r} cannot be written ({error.strerror}): give another.") from None


@contextmanager
def alone(folder: Path, command: str, *, wait: float = 0) -> Iterator[None]:
    """Within, no other `echorl COMMAND` works in the folder, which is made if need be.

    The lock is the operating system's and ends with the process, however that ends. What killed commands left of
    scratch files is deleted.

    Args:
        wait: seconds to wait for the other one.

    Raises:
        UserError: another one does, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    check_writable(folder)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=wait)
    except Timeout:
        raise UserError(
            f"another `echorl {command}` is at work in {folder}: let it end, or give another --output_dir."
        ) from None
    with lock:
        remove_scratch(folder)
        yield
