"""The names of echorl's methods, read without their import, which brings torch."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from echorl.support.errors import UserError

NOT_METHODS = ("__init__", "base", "judging", "registry", "rules")
"""Files of `echorl.methods` that hold no method; each other file is named after its method."""


def method_names() -> list[str]:
    """Return the names of echorl's methods."""
    files = (Path(__file__).parents[1] / "methods").glob("*.py")
    return sorted(file.stem for file in files if file.stem not in NOT_METHODS)


def check_method_name(name: str, option: str) -> None:
    """Refuse a name or a file that is not there, before torch is imported; `find_method` checks the rest.

    Args:
        option: what names the method, for the message.

    Raises:
        UserError: there is no such method or file.
    """
    path, colon, _ = name.rpartition(":")
    if colon and not Path(path).is_file():
        raise UserError(
            f"{option}={name!r}: there is no file {Path(path).absolute()}; a path is relative to the working directory."
        )
    is_class = colon or name.endswith(".py")
    if not is_class and "echorl.methods" not in sys.modules and name not in method_names():
        similar = difflib.get_close_matches(name, method_names(), n=1)
        question = f"did you mean {similar[0]!r}? There" if similar else "there"
        listing = f"{question} are {', '.join(method_names())}; your own is file.py:Class."
        raise UserError(f"{option}={name!r} does not exist; {listing}")
