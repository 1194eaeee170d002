"""Which packages are there, in which versions; one sentence for one that an extra of echorl brings and that is not."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def check_installed(who: str, packages: Iterable[str], extras: str) -> None:
    """Refuse to go on without these packages.

    Args:
        who: what needs them, the sentence's subject.
        extras: those of echorl that bring them, "trl,tasks" say.

    Raises:
        ImportError: one is missing; names it and the command that installs it.
    """
    for name in packages:
        if find_spec(name) is None:
            raise ImportError(f"{who} needs {name}: pip install 'echorl[{extras}]'.")


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> its version, without those that are not installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
