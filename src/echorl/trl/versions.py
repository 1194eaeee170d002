"""The versions of TRL that the hooks support, and of vLLM that TRL supports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from echorl.support.installed import install_command

OLDEST = "1.16"
NEWEST_TESTED = "1.16.0"


def check_trl_version(installed: str | None = None) -> None:
    """Refuse a TRL whose hooks differ; warn of one that was never tested.

    Raises:
        ImportError: TRL is missing or older than 1.16.
    """
    try:
        installed = installed or metadata.version("trl")
    except metadata.PackageNotFoundError:
        raise ImportError(f"echorl.trl needs TRL: {install_command('trl')}.") from None
    from packaging.version import Version  # comes with TRL

    version, tested = Version(installed), Version(NEWEST_TESTED)
    if version < Version(OLDEST):
        raise ImportError(
            f"trl {version} is too old for echorl, whose hooks need {OLDEST} or newer: pip install -U trl."
        )
    if version.release[:2] > tested.release[:2]:
        warnings.warn(f"echorl was tested with trl {NEWEST_TESTED}; trl {version} is newer and untested.", stacklevel=2)


def check_vllm() -> None:
    """Refuse `use_vllm` without vLLM, or with a version that TRL does not support; TRL itself is late or only warns.

    Raises:
        ImportError: vLLM is missing, or of a version that TRL does not support.
    """
    installed, problem = _ask_trl()
    if not installed:
        raise ImportError(
            f"use_vllm=True, but vLLM is not installed: {install_command('vllm')}, or leave use_vllm out."
        )
    if problem:
        raise ImportError(f"use_vllm=True, but {problem}: install one of those, or leave use_vllm out.")


@contextmanager
def blaming_vllm() -> Iterator[None]:
    """Name vLLM's version where it breaks the import of TRL, which imports an installed vLLM without being asked."""
    try:
        yield
    except (ImportError, RuntimeError) as error:  # TRL's lazy modules turn the first into the second
        installed, problem = _ask_trl()
        if not (installed and problem):
            raise
        raise ImportError(f"trl cannot be imported: {problem}; install one of those, or uninstall vLLM.") from error


def _ask_trl() -> tuple[bool, str]:
    """Return whether vLLM is installed, and TRL's warning about its version, if any."""
    from trl.import_utils import is_vllm_available

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        installed = is_vllm_available()
    warning = str(caught[0].message).partition(" We recommend")[0].rstrip(".") if caught else ""
    return installed, warning.replace(". You have", ", you have")
