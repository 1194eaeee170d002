"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import echorl

SOURCE = Path(echorl.__file__).parent
WITH_EXAMPLES = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_examples(path):
    if path.is_relative_to(SOURCE / "verl"):
        pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")
    name = ".".join(["echorl", *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
