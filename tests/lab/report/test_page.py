"""The page and the plots: hostile text is inert, nothing is fetched, any Unicode survives."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from echorl.lab.report.charts import Chart, Drawn, Line, svg, write_png
from echorl.lab.report.gallery import make_exhibit
from echorl.lab.report.page import Page, Section, Table, render, write
from echorl.lab.report.panels import Accuracies, GroupAreas
from echorl.lab.report.plots import smooth
from tests.lab.report.test_gallery import TEXTS, clip, row

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">&amp;</pre></style>{{ 7*7 }}'


class Elements(HTMLParser):
    """The elements of a page, their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data):
        self.text += data


def exhibit_of(text: str):
    hostile = clip(prompt=text, completion=text, tokens=[text], entropy=[0.2], step_ids=[0])
    return make_exhibit([hostile, row()])


@pytest.fixture
def panels() -> list[Drawn]:
    shares = {"all_success": [0.0, 0.5, 0.6], "mixed": [0.9, 0.5, 0.2], "all_fail": [0.1, 0.0, 0.2]}
    estimates = dict.fromkeys(("before", "GRPO", "GRPO+EchoRL"), (0.5, 0.4, 0.6))
    return [
        GroupAreas("Groups", "training step", [1, 2, 3], shares),
        Accuracies("Accuracy", "over prompts", {"test": estimates}, {"GRPO": 0, "GRPO+EchoRL": 1}),
        Chart("Rewards", "training step", [Line("GRPO", 0, [1, 2, 3], [0.1, 0.9, 0.5])]),
    ]


def test_html_in_every_text_is_inert():
    page = Page(
        title=HOSTILE,
        lead=[HOSTILE],
        sections=[
            Section(findings=[HOSTILE], tables=[Table(HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]], HOSTILE)])
        ],
        exhibits=[exhibit_of(HOSTILE)],
        foot=[HOSTILE],
    )
    elements = Elements(render(page))
    assert "script" not in elements.tags
    assert "img" not in elements.tags
    assert not any(name.startswith("on") for name, _ in elements.attributes)
    assert elements.text.count(HOSTILE) >= 10
    assert elements.tags.count("style") == 1


def test_backticks_are_code_in_prose_and_themselves_in_data():
    tables = [Table("", ["a"], [["`<b>`"]], "as `c` has it", prose=prose) for prose in (True, False)]
    html = render(Page(title="t", lead=["`echorl <x>` ` alone"], sections=[Section(findings=["`y`"], tables=tables)]))
    assert re.findall("<code>(.*?)</code>", html) == ["echorl &lt;x&gt;", "y", "&lt;b&gt;", "c", "c"]
    assert "`&lt;b&gt;`" in html
    assert "</code> ` alone" in html


def test_a_demonstration_without_entropies_is_told_apart():
    unknown = row(written_by_policy=False, entropy=[float("nan")] * 5)
    mistake = row(written_by_policy=False, success=False)
    text = Elements(render(Page(title="t", lead=[], exhibits=[make_exhibit([clip(), unknown, mistake])]))).text
    assert "(demonstration)" in text
    assert "2: succeeded, a demonstration" in text
    assert "3: failed, a mistake on request" in text
    assert "nan" not in text


def test_nothing_is_fetched(panels):
    page = Page(title="t", lead=[], sections=[Section(charts=panels)], exhibits=[exhibit_of("a")])
    html = render(page)
    elements = Elements(html)
    assert not re.search(r"https?:|//\w", html)
    assert not {"link", "script", "iframe", "object", "img", "image"} & set(elements.tags)
    assert all(value.startswith("#") for name, value in elements.attributes if name in ("href", "xlink:href", "src"))
    assert not re.search(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html


@pytest.mark.parametrize("text", [*TEXTS, "\u202eabc", "\x00\ud800"])
def test_any_unicode(text, tmp_path):
    write(Page(title=text, lead=[text], exhibits=[exhibit_of(text)]), tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "\u202e" not in html.split("<article")[1]
    if text in TEXTS:
        assert text.strip() in Elements(html).text


def test_an_empty_page():
    assert "<h1>t</h1>" in render(Page(title="t", lead=[]))


def test_panels_take_the_pages_colours(panels):
    for panel in panels:
        drawn = svg(panel)
        assert drawn.startswith('<svg role="img"')
        assert "currentColor" in drawn
        assert "#1f2328" not in drawn
        assert "xmlns" not in drawn
    assert svg(panels[0]) == svg(panels[0])


def test_png(panels, tmp_path):
    write_png(panels[:2], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "picture.png").stat().st_size < 200_000


@pytest.mark.parametrize(("width", "expected"), [(1, [1.0, 2.0, 6.0]), (3, [1.5, 3.0, 4.0]), (9, [3.0, 3.0, 3.0])])
def test_smooth_by_hand(width, expected):
    assert smooth([1.0, 2.0, 6.0], width) == expected
    assert smooth([], width) == []
