"""papers.md has a row for every method, with a section of deviations that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import echorl
from echorl.methods import METHODS

PACKAGE = Path(echorl.__file__).parent
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "papers.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^\| \[`?(\w+)`?\]\(#([\w-]+)\) \|", TEXT.partition("\n## ")[0], re.MULTILINE))
"""Method -> the section that its row links to."""


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_row_and_its_file(name):
    headings = {
        line.strip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith(("## ", "### "))
    }
    assert SECTIONS[name] in headings
    assert (PACKAGE / "methods" / f"{name}.py").exists()


def test_there_is_no_row_for_what_is_not_there():
    assert set(SECTIONS) == {"EchoRL", *METHODS}
