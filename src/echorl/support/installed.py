"""Installed packages: their versions, and the sentences for one that is missing, too old or untested."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

SOURCE = Path(__file__).parents[3]
"""The clone's folder where the code runs from a clone (an editable install), else a folder of the environment."""


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
            raise ImportError(f"{who} needs {name}: {install_command(extras)}.")


def check_version(adapter: str, package: str, *, oldest: str, newest_tested: str) -> None:
    """Refuse a framework before version `oldest`, which has other hooks; warn of a release after `newest_tested`.

    Args:
        adapter: echorl's folder for the framework, which has the name of the extra that brings the package.

    Raises:
        ImportError: the package is missing or too old; the message has the command that installs it.
    """
    try:
        text = version(package)
    except PackageNotFoundError:
        raise ImportError(f"echorl.{adapter} needs {package}: {install_command(adapter)}.") from None
    from packaging.version import Version  # comes with each framework

    installed = Version(text)
    if installed < Version(oldest):
        raise ImportError(
            f"{package} {text} is too old for echorl, whose hooks need {oldest} or newer: pip install -U {package}."
        )
    if installed.release[:2] > Version(newest_tested).release[:2]:  # of 0.10.0.dev0 it is (0, 10)
        sentence = f"echorl was tested with {package} {newest_tested}; {package} {text} is newer and untested."
        warnings.warn(sentence, stacklevel=3)


def install_command(extras: str) -> str:
    """Return the command that adds extras, such as "trl,lab", to echorl as it is installed here.

    Indexes may not have echorl, so the command names the clone or the address that pip got it from. Where neither is
    to be found any more it is a sentence's end without a command.
    """
    if (SOURCE / "pyproject.toml").is_file() and (SOURCE / "src/echorl").is_dir():
        return f"pip install -e '{'.' if Path.cwd() == SOURCE else SOURCE}[{extras}]'"
    try:
        text = distribution("echorl").read_text("direct_url.json")
    except PackageNotFoundError:  # a copy of the source on the path
        return f"install echorl with the extras [{extras}]"
    if text is None:  # as pip leaves it after an index
        return f"pip install 'echorl[{extras}]'"
    address = _address(json.loads(text))
    if address.startswith("file:") and not Path(url2pathname(urlsplit(address).path)).exists():
        return f"install echorl again, with the extras [{extras}]"
    return f"pip install 'echorl[{extras}] @ {address}'"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed."""
    installed = {}
    for name in packages:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def _address(origin: dict[str, Any]) -> str:
    """Return the address in pip's record of a package's origin, direct_url.json, with the branch or tag.

    >>> _address({"url": "https://example.org/echorl.git", "vcs_info": {"vcs": "git", "requested_revision": "main"}})
    'git+https://example.org/echorl.git@main'
    """
    source = origin.get("vcs_info")
    if source is None:
        return origin["url"]
    revision = source.get("requested_revision")
    return f"{source['vcs']}+{origin['url']}{f'@{revision}' if revision else ''}"
