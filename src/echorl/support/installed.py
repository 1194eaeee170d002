"""Installed packages: their versions, and the sentence for a missing package with the extra that brings it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def check_installed(who: str, packages: Iterable[str], extras: str) -> None:
    """Check that packages are installed.

    Args:
        who: subject of the sentence, such as "`echorl mine`".
        extras: echorl's extras that bring them, such as "trl,tasks".

    Raises:
        ImportError: one is missing; the message has its name and the command that installs it.
    """
    for name in packages:
        if find_spec(name) is None:
            raise ImportError(f"{who} needs {name}: pip install 'echorl[{extras}]'.")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    installed = {}
    for name in packages:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed
