"""The versions of verl that the hooks were written for."""

from __future__ import annotations

import warnings
from importlib import metadata

from echorl.support.installed import install_command

OLDEST = "0.9.1"
NEWEST_TESTED = "0.9.1"


def check_verl_version(installed: str | None = None) -> None:
    """Refuse a verl before 0.9.1, which has other trainers and hooks; warn of 0.10 and newer, which were never run.

    Raises:
        ImportError: verl is missing or older than `OLDEST`.
    """
    try:
        installed = installed or metadata.version("verl")
    except metadata.PackageNotFoundError:
        raise ImportError(f"verl is not installed: {install_command('verl')}.") from None
    from packaging.version import Version  # comes with verl

    version, tested = Version(installed), Version(NEWEST_TESTED)
    if version < Version(OLDEST):
        raise ImportError(
            f"verl {version} is too old for echorl, whose hooks need {OLDEST} or newer: pip install -U verl."
        )
    if version.release[:2] > tested.release[:2]:  # 0.10.0.dev0, too
        warnings.warn(
            f"echorl was tested with verl {NEWEST_TESTED}; verl {version} is newer and untested.", stacklevel=2
        )
