"""Tables in terminals of several widths: no column is lost, and words are whole where there is room."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from echorl.cli import tables
from echorl.cli.compare import _without_repeats
from echorl.cli.tables import print_table

HEAD = ["", "arm", "learning rate", "mean", "reference", "difference, 95 % over seeds", "p, Holm", "bootstrap"]
ROWS = [
    ["pass@1, %", "luffy", "0.0001", "96.08", "", "", "", ""],
    ["pass@1, %", "luffy-echorl", "0.0001", "95.88", "luffy", "-0.195 [-0.614, +0.224]", "0.31", "-0.2 [-0.9, +0.5]"],
]


@pytest.fixture
def lines(capsys, monkeypatch):
    """A function that prints the table in a terminal of a width and returns its lines."""

    def show(width: int) -> list[str]:
        monkeypatch.setattr(tables, "Console", lambda: Console(force_terminal=True, no_color=True, width=width))
        print_table("Test", HEAD, _without_repeats(ROWS))
        return re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize(("width", "cells"), [(160, ROWS[1][1:]), (110, ROWS[1][1:]), (80, ROWS[1][1:5])])
def test_cells_are_whole_where_they_fit(lines, width, cells):
    shown = lines(width)
    assert max(map(len, shown)) <= width
    [row] = [line for line in shown if "luffy-echorl" in line]
    assert all(cell in row for cell in cells)
    assert "pass@1" not in row
    assert any("bootstrap" in line for line in shown)
    assert not any("…" in line for line in shown)


def test_a_terminal_too_narrow_for_the_columns_still_shows_all(lines):
    shown = " ".join(lines(50))
    assert all(part in shown for part in ("96.08", "95.88", "0.31"))


@pytest.mark.parametrize("width", [30, 40, 60])
def test_no_character_of_a_number_is_lost_in_a_narrow_terminal(lines, width):
    shown, cells = "".join(lines(width)), "".join(cell for row in ROWS for cell in row[2:])
    assert "…" not in shown
    assert all(shown.count(digit) >= cells.count(digit) for digit in "123456789")
