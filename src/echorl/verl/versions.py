"""The versions of verl that the hooks were written for."""

from __future__ import annotations

from echorl.support.installed import check_version

OLDEST = "0.9.1"
"""The versions before have other trainers and hooks."""
NEWEST_TESTED = "0.9.1"


def check_verl_version() -> None:
    """Check verl's version, as `check_version` does."""
    check_version("verl", "verl", oldest=OLDEST, newest_tested=NEWEST_TESTED)
