"""The versions of TRL that the hooks support, what the older ones lack, and the versions of vLLM that TRL supports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from echorl.support.installed import check_version, install_command

OLDEST = "1.14.1"
NEWEST_TESTED = "1.16.0"


def check_trl_version() -> None:
    """Check TRL's version, as `check_version` does."""
    check_version("trl", "trl", oldest=OLDEST, newest_tested=NEWEST_TESTED)


def installed_trl() -> str:
    """Return the version of the installed TRL."""
    return metadata.version("trl")


def _is_at_least(oldest: str) -> bool:
    from packaging.version import Version

    return Version(installed_trl()) >= Version(oldest)


def scores_in_the_head() -> bool:
    """Return whether TRL's scoring forward gives the model `labels` and takes its log-probs, which needs TRL 1.15.

    Before, it takes the logits and computes log-probs and entropies from them.
    """
    return _is_at_least("1.15")


def trains_on_images() -> bool:
    """Return whether TRL keeps the model from sampling an image's token, which it cannot score; it needs TRL 1.16."""
    return _is_at_least("1.16")


def check_base(base: type) -> None:
    """Refuse TRL's trainer as unsloth rewrites it: its loss is computed elsewhere and never reaches EchoRL's hook.

    Raises:
        ImportError: unsloth was imported before EchoRL's trainer.
    """
    if any(each.__name__.lstrip("_").startswith("Unsloth") for each in base.__mro__):
        raise ImportError(
            f"unsloth has replaced TRL's GRPOTrainer by its {base.__name__}, whose loss EchoRL cannot extend: "
            "write `from echorl.trl import EchoGRPOTrainer` before `import unsloth`."
        )


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
