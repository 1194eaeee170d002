"""One command at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echorl.cli.errors import UserError
from echorl.output_folder import LOCK, remove_scratch


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

    from echorl.cli.run_folder import check_writable

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
