"""Code in docs/ runs as it is pasted and prints what is shown, or says why the tests do not run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from echorl.cli import main
from echorl.lab.audit.advice import treatments
from echorl.methods import METHODS
from tests import processes
from tests.docs.blocks import PAGES, ROOT, blocks
from tests.docs.run import commands, is_same, run_page

README = (ROOT / "README.md").read_text(encoding="utf-8")


def named(page: Path) -> str:
    return page.relative_to(ROOT / "docs").as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_marked(page):
    problems = [block.problem for block in blocks(page) if block.problem]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.runs for b in blocks(page))], ids=named)
def test_blocks_run(page, tmp_path):
    (tmp_path / "folder").mkdir()
    log = tmp_path / "log"
    process = processes.start(run_page, page, tmp_path / "folder", log)
    process.join()
    assert process.exitcode == 0, log.read_text(encoding="utf-8")[-4000:]


def test_a_block_without_a_mark_or_a_language_is_named(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs a GPU -->\n```sh\na\n```\n```sh\nb\n```\n```text\nc\n```\n\n```\nd\n```\n")
    problems = [block.problem for block in blocks(page)]
    assert (problems[0], problems[2]) == (None, None)
    assert "page.md:5: write <!-- runs -->" in problems[1]
    assert "page.md:12: the block has no language" in problems[3]


def test_commands_of_a_console():
    text = "$ echo a \\\n    b  # two\na b\n$ true\n"
    assert commands(text) == "echo a \\\n    b  # two\ntrue"


def test_a_wrong_block_fails_with_its_page_and_line(tmp_path):
    page, log = tmp_path / "page.md", tmp_path / "log"
    page.write_text(
        "<!-- writes rows.txt -->\n```text\n7\n```\n<!-- runs -->\n```python\nint(open('rows.txt').read()) / 0\n```\n"
    )
    process = processes.start(run_page, page, tmp_path, log)
    process.join()
    assert process.exitcode == 1
    assert 'page.md", line 7' in log.read_text()


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("a\nb. c 1", True),
        ("a ...\nc   1\n", True),
        ("...\na\nb.\n...\nc 1", True),
        ("a\nb.", False),
        ("a\nc 1", False),
        ("... b c 1", False),
    ],
)
def test_dots_stand_for_any_text(shown, same):
    assert is_same(shown, "a\nb.  c 1\n") == same


def test_what_a_page_shows_is_what_is_printed(tmp_path):
    page, log = tmp_path / "page.md", tmp_path / "log"
    shown = "<!-- prints{} -->\n```text\n{}\n```\n"
    page.write_text(
        "<!-- runs -->\n```python\nprint('a   7')\nprint('b')\n```\n"
        + shown.format("; numbers vary", "a -1.5e-05\n...")
        + "<!-- printed by: echo 8 -->\n```text\n8\n```\n<!-- runs -->\n```sh\necho 9\n```\n"
        + shown.format("", "7")
    )
    process = processes.start(run_page, page, tmp_path, log)
    process.join()
    assert process.exitcode == 1
    assert "page.md:20 shows\n7\n\nand not\n9\n" in log.read_text()


def test_the_readme_shows_what_audit_prints(shared_data, tmp_path, monkeypatch, capsys):
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    assert main(["audit", str(shared_data / "math_rollouts" / "qwen25_math_100x8.jsonl")]) == 0
    assert capsys.readouterr().out.startswith(shown)


def test_the_readme_counts_the_methods():
    acting = treatments("all_success")
    names, measured = ({each.name.split()[0] for each in some} for some in (acting, [t for t in acting if t.gains]))
    text = " ".join(README.split())
    assert f"{len(METHODS)} methods" in text
    number = f"all {len(names)}" if measured == names else len(measured)
    assert f"{len(names)} act on all-success groups, and {number} were measured" in text
