"""Names of before, until the last user of them has moved."""

from pathlib import Path

from echorl.support.folder import ResultFolder, contents  # noqa: F401


def check_empty(folder: Path, command: str) -> None:
    ResultFolder(folder, command.strip("`").removeprefix("echorl "), mark="no mark").check_owner()
