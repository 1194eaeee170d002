"""The pages of docs/: each is in the site's index, and every link leads somewhere. `make docs` builds the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import echorl
import echorl.methods
import echorl.models
import echorl.tasks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
READ = {**{f"docs/{name}": text for name, text in PAGES.items()}, "README.md": (ROOT / "README.md").read_text("utf-8")}
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
API = [
    *(f"echorl.{name}" for name in echorl.__all__),
    *(f"echorl.methods.{name}" for name in echorl.methods.__all__ if not name.isupper()),
    *(f"echorl.tasks.{name}" for name in ("Task", "Verifier", "load_task")),
    "echorl.models.path",
    "echorl.trl.EchoGRPOConfig",
    "echorl.trl.EchoGRPOTrainer",
    "echorl.swift.use_echo",
]


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings are linked to."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", READ)
def test_links_lead_somewhere(name):
    place = ROOT / name
    for link in LINK.findall(FENCED.sub("", READ[name])):
        if "://" in link or link.startswith("mailto:"):
            continue
        file, _, anchor = link.partition("#")
        target = (place.parent / file).resolve() if file else place
        assert target.exists(), f"{name} links to {link}"
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), f"{name} links to {link}"


def test_every_page_is_in_the_index():
    listed = re.findall(r"^[\w/-]+$", PAGES["index.md"], re.MULTILINE)
    assert {f"{page}.md" for page in listed} == PAGES.keys() - {"index.md", "README.md"}
    linked = {link.partition("#")[0] for link in LINK.findall(PAGES["README.md"])}
    assert linked >= PAGES.keys() - {"index.md", "README.md"}


@pytest.mark.parametrize("name", API)
def test_every_public_name_is_in_the_reference(name):
    assert re.search(rf":: {re.escape(name)}$", PAGES["reference/api.md"], re.MULTILINE)


@pytest.mark.parametrize("name", READ)
def test_lines_of_prose_are_at_most_100_columns(name):
    prose = [line for line in FENCED.sub("", READ[name]).splitlines() if not line.startswith(("|", "![", "<!--"))]
    assert [line for line in prose if len(line) > 100] == []


def test_the_readme_is_read_to_the_end():
    assert len(READ["README.md"].encode()) <= 8_000
