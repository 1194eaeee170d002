"""The page and the plots: hostile text is inert, nothing is fetched, any Unicode survives."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

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


def axes_of(chart):
    ax = Figure(figsize=chart.size, layout="constrained").subplots()
    chart.draw(ax, legend=True)
    ax.figure.draw_without_rendering()
    return ax


def test_the_name_of_an_area_is_inside_of_the_chart():
    """Of a run of few steps, whose area is tallest right after its beginning."""
    shares = {"all_success": [0.2, 0.9, *[0.5] * 9], "mixed": [0.8, 0.1, *[0.5] * 9]}
    ax = axes_of(GroupAreas("Groups", "training step", range(1, 12), shares))
    box = ax.get_window_extent()
    assert [text.get_text().split(":")[0] for text in ax.texts] == ["all succeed", "mixed"]
    assert all(box.x0 <= text.get_window_extent().x0 and text.get_window_extent().x1 <= box.x1 for text in ax.texts)


def test_a_long_title_is_inside_of_the_picture(panels):
    title = "Groups of rollouts, runs/a-long-name-of-a-run (method saturated_learning, echo_coef 0.001)"
    for panel in panels:
        ax = axes_of(replace(panel, title=title))
        shown = ax.get_title() or ax.get_title("left")
        assert shown.replace("\n", " ") == title
        assert max(map(len, shown.split("\n"))) <= 10 * panel.size[0]


def test_a_log_axis_of_less_than_a_decade_has_plain_numbers():
    ax = axes_of(Chart("Gradient norm", "step", [Line("a", 0, [1, 2], [0.2, 0.55])], log=True))
    low, high = ax.get_ylim()
    labels = [label.get_text() for label in ax.get_yticklabels() if low <= label.get_position()[1] <= high]
    assert labels == ["0.2", "0.3", "0.5"]


def test_a_folded_table_stands_behind_its_line():
    table = Table("", ["method"], [["agpo"]], "a note", folded="The methods")
    html = render(Page(title="t", lead=[], sections=[Section(tables=[table])]))
    assert re.search(r"<details><summary>The methods</summary>.*agpo.*a note.*</details>", html, re.DOTALL)
    assert "<details" not in render(Page(title="t", lead=[], sections=[Section(tables=[replace(table, folded="")])]))


def test_png(panels, tmp_path):
    write_png(panels[:2], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "picture.png").stat().st_size < 200_000


@pytest.mark.parametrize(("width", "expected"), [(1, [1.0, 2.0, 6.0]), (3, [1.5, 3.0, 4.0]), (9, [3.0, 3.0, 3.0])])
def test_smooth_by_hand(width, expected):
    assert smooth([1.0, 2.0, 6.0], width) == expected
    assert smooth([], width) == []
