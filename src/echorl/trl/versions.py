"""Which versions of TRL the hooks fit."""

from __future__ import annotations

import warnings
from importlib import metadata

from packaging.version import Version

OLDEST = Version("1.16")
NEWEST_TESTED = Version("1.16.0")


def check_trl_version(installed: str | None = None) -> None:
    """Refuse a TRL whose hooks differ, warn about one that was never tested.

    Raises:
        ImportError: TRL is missing or older than 1.16.
    """
    try:
        version = Version(installed or metadata.version("trl"))
    except metadata.PackageNotFoundError:
        raise ImportError("echorl.trl needs TRL: pip install 'echorl[trl]'.") from None
    if version < OLDEST:
        raise ImportError(
            f"trl {version} is too old for echorl, whose hooks need {OLDEST} or newer: pip install -U trl."
        )
    if version.release[:2] > NEWEST_TESTED.release[:2]:
        warnings.warn(f"echorl was tested with trl {NEWEST_TESTED}; trl {version} is newer and untested.", stacklevel=2)
