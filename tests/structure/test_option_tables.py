"""The option tables of the pages are those of the declarations."""

from __future__ import annotations

import pytest

from docs.option_tables import DOCS, TABLE, page_with_tables
from echorl.cli import COMMANDS

PAGES = {path.name: path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if TABLE.search(text)])
def test_a_page_is_not_behind(name):
    assert page_with_tables(PAGES[name]) == PAGES[name], "run `python -m docs.option_tables`"


def test_every_command_has_its_table():
    tables = {match[1] for text in PAGES.values() for match in TABLE.finditer(text)}
    assert tables == {*COMMANDS, "train.data", "EchoGRPOConfig"} - {"train", "sft", "env"}
