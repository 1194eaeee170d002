"""The command that installs an extra, however echorl was installed, a bare install, and the frameworks' versions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from echorl.support import installed
from echorl.support.installed import install_command
from echorl.swift.settings import check_swift_version
from echorl.trl.versions import check_trl_version
from echorl.verl.versions import check_verl_version

REPOSITORY = "https://example.org/me/echorl.git"
GIT = {"url": REPOSITORY, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}}
BARE = """
import sys
from importlib import metadata

HIDDEN = {
    "trl", "transformers", "datasets", "accelerate", "tokenizers", "safetensors", "huggingface_hub", "peft",
    "numpy", "scipy", "pyarrow", "pandas", "rich", "matplotlib", "packaging", "tqdm", "reasoning_gym", "math_verify",
}
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Hide())
sys.modules.update(dict.fromkeys(HIDDEN))
find = metadata.Distribution.from_name
def from_name(name):
    if name.replace("-", "_") in HIDDEN:
        raise metadata.PackageNotFoundError(name)
    return find(name)
metadata.Distribution.from_name = from_name
"""
"""torch and jsonargparse, with what they need, are there; nothing else is."""


class FakeDistribution:
    def __init__(self, origin: dict | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.fixture
def origin(monkeypatch, tmp_path):
    """A function that makes echorl one that was installed from there, outside a clone."""

    def install(record: dict | None) -> None:
        monkeypatch.setattr(installed, "SOURCE", tmp_path)
        monkeypatch.setattr(installed, "distribution", lambda name: FakeDistribution(record))

    return install


def test_in_a_clone(monkeypatch, tmp_path):
    monkeypatch.chdir(installed.SOURCE)
    assert install_command("trl,lab") == "pip install -e '.[trl,lab]'"
    monkeypatch.chdir(tmp_path)
    assert install_command("lab") == f"pip install -e '{installed.SOURCE}[lab]'"
    assert (installed.SOURCE / "pyproject.toml").is_file()


@pytest.mark.parametrize(
    ("record", "address"),
    [
        (GIT, f"git+{REPOSITORY}"),
        ({**GIT, "vcs_info": {**GIT["vcs_info"], "requested_revision": "v0.1"}}, f"git+{REPOSITORY}@v0.1"),
        ({"url": "https://example.org/echorl-0.1.0-py3-none-any.whl", "archive_info": {}}, None),
    ],
)
def test_from_an_address(origin, record, address):
    origin(record)
    assert install_command("trl") == f"pip install 'echorl[trl] @ {address or record['url']}'"


def test_from_a_folder_or_a_wheel_on_this_machine(origin, tmp_path):
    wheel = tmp_path / "a b" / "echorl-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    origin({"url": wheel.as_uri(), "archive_info": {}})
    assert install_command("lab") == f"pip install 'echorl[lab] @ {wheel.as_uri()}'"
    wheel.unlink()
    assert install_command("lab") == "install echorl again, with the extras [lab]"


def test_from_an_index_and_from_nowhere(origin, monkeypatch):
    origin(None)
    assert install_command("lab") == "pip install 'echorl[lab]'"

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installed, "distribution", missing)
    assert install_command("lab") == "install echorl with the extras [lab]"


@pytest.mark.parametrize(
    ("statement", "last"),
    [
        ("from echorl.cli import main; assert main(['env']) == 0", None),
        ("from echorl.cli import main; main(['train', '--config', 'recipes/cpu/quickstart.yaml'])", "trl"),
        ("from echorl.cli import main; main(['quickstart'])", "trl,lab"),
        ("from echorl.cli import main; main(['audit', 'log.jsonl'])", "lab"),
        ("from echorl.trl import EchoGRPOTrainer", "trl"),
        ("from echorl.models import path; path('smollm2')", "trl,smollm2"),
    ],
)
def test_a_bare_install_says_what_is_missing(statement, last):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{BARE}\n{statement}"],
        cwd=installed.SOURCE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ECHORL_CACHE": str(Path("/nowhere"))},
        capture_output=True,
        text=True,
        check=False,
    )
    if last is None:
        assert done.stderr == ""
        assert "trl for echorl:  not installed; echorl's extra [trl] brings it" in done.stdout
    else:
        sentence = done.stderr.strip().splitlines()[-1]
        assert sentence.endswith(f": pip install -e '.[{last}]'.")
        assert " needs " in sentence
        assert "main(" not in statement or done.stderr.count("\n") == 1


FRAMEWORKS = {
    "trl": (check_trl_version, "1.14.0", "1.14.1 1.15.0 1.16.0 1.16.3", "1.17.0"),
    "verl": (check_verl_version, "0.8.0 0.9.0", "0.9.1 0.9.7", "0.10.0.dev0 0.10.0 1.0"),
    "ms-swift": (check_swift_version, "4.5.2", "4.6.0 4.6.3", "4.7.0 5.0.0"),
}
"""Package -> its check, and versions that are too old, supported and untested."""


@pytest.mark.parametrize("package", FRAMEWORKS)
def test_versions_of_a_framework(monkeypatch, package):
    check, too_old, supported, untested = FRAMEWORKS[package]

    def check_with(version: str) -> None:
        monkeypatch.setattr(installed, "version", {package: version}.__getitem__)
        check()

    for version in too_old.split():
        oldest = supported.split()[0]
        with pytest.raises(ImportError, match=f"{package} {version} is too old .* {oldest} or newer"):
            check_with(version)
    for version in supported.split():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_with(version)
    for version in untested.split():
        with pytest.warns(UserWarning, match=f"{package} {version} is newer and untested"):
            check_with(version)
