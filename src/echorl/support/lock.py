"""Names of before, until the last user of them has moved."""

from pathlib import Path

from echorl.support.folder import ResultFolder


def alone(folder: Path, command: str, *, wait: float = 0):
    return ResultFolder(folder, command).locked(wait=wait)


def check_writable(folder: Path) -> None:
    ResultFolder(folder, "").check_writable()
