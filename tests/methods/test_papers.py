"""papers.md has a row for every method, with files that exist and a section of deviations that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import echorl
from echorl.methods import METHODS

PACKAGE = Path(echorl.__file__).parent
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "papers.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("\n## ")[0]
ROWS = {line.split("|")[1].strip(" `"): line for line in TABLE.splitlines() if line.startswith("| ")}


@pytest.mark.parametrize("name", ["EchoRL", *METHODS])
def test_every_method_has_its_row(name):
    cells = ROWS[name].split(" | ")
    assert len(cells) == 5
    files = re.findall(r"`([\w/]+\.py|trl/)`", cells[3])
    assert files
    assert all((PACKAGE / file).exists() for file in files)
    section = re.search(r"\(#([\w-]+)\)", cells[4])[1]
    assert section in {
        line.strip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("## ")
    }


def test_there_is_no_row_for_what_is_not_there():
    assert set(ROWS) == {"method", "EchoRL", *METHODS, "SFT"}
