"""The versions of TRL that the hooks support, what the older ones lack, and the versions of vLLM that TRL supports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from packaging.version import Version

OLDEST = Version("1.14.1")
NEWEST_TESTED = Version("1.16.0")


def check_trl_version(installed: str | None = None) -> None:
    """Refuse a TRL whose hooks differ; warn of one that was never tested.

    Raises:
        ImportError: TRL is missing or older than `OLDEST`.
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


def installed_trl() -> Version:
    """Return the version of the installed TRL."""
    return Version(metadata.version("trl"))


def scores_in_the_head() -> bool:
    """Return whether TRL's scoring forward gives the model `labels` and takes its log-probs, which needs TRL 1.15.

    Before, it takes the logits and computes log-probs and entropies from them.
    """
    return installed_trl() >= Version("1.15")


def trains_on_images() -> bool:
    """Return whether TRL keeps the model from sampling an image's token, which it cannot score; it needs TRL 1.16."""
    return installed_trl() >= Version("1.16")


def check_vllm() -> None:
    """Refuse `use_vllm` without vLLM, or with a version that TRL does not support; TRL itself is late or only warns.

    Raises:
        ImportError: vLLM is missing, or of a version that TRL does not support.
    """
    installed, problem = _ask_trl()
    if not installed:
        raise ImportError(
            "use_vllm=True, but vLLM is not installed: pip install 'echorl[vllm]', or leave use_vllm out."
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
