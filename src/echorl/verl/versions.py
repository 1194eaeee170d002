"""The version of verl that the hooks were written for."""

from __future__ import annotations

from importlib import metadata

from echorl.support.installed import install_command


def check_verl_version(installed: str | None = None) -> None:
    """Refuse every verl but 0.9: 0.8 has other trainers and hooks, and newer versions were not checked.

    Raises:
        ImportError: verl is missing or not 0.9.1 to 0.9.x.
    """
    try:
        version = installed or metadata.version("verl")
    except metadata.PackageNotFoundError:
        raise ImportError(f"verl is not installed: {install_command('verl')}.") from None
    numbers = version.split(".")
    if numbers[:2] != ["0", "9"] or numbers[2:3] == ["0"]:
        raise ImportError(
            f"verl {version} is not supported by echorl, whose hooks are those of verl 0.9.1 to 0.9.x: "
            "pip install 'verl>=0.9.1,<0.10'."
        )
