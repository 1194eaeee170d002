from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's package is imported: no test waits for the network
pytest_plugins = ["tests.results"]


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
