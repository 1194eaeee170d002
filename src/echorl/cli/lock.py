"""One command at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echorl.cli.errors import UserError


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Within, no other `echorl COMMAND` works in the folder, which is made if need be.

    Raises:
        UserError: another one does, or the folder cannot be made.
    """
    from filelock import FileLock, Timeout

    from echorl.cli.run_folder import check_writable

    check_writable(folder)
    try:
        lock = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another `echorl {command}` is at work in {folder}: let it end, or give another --output_dir."
        ) from None
    with lock:
        yield
