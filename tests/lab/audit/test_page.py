"""The page of an audit: hostile text is inert, every part is there, and a report draws it, too."""

from __future__ import annotations

import json

import pytest

from echorl.lab.audit.page import make_page
from echorl.lab.audit.run import headline, shortened
from echorl.lab.report.assemble import make_report
from echorl.lab.report.charts import Chart, Line
from echorl.lab.report.page import render
from echorl.lab.report.panels import Bars
from tests.lab.audit.made import long_log, results_of
from tests.lab.audit.simulated import group_table
from tests.lab.report.test_page import HOSTILE, Elements


@pytest.fixture(scope="module")
def results():
    log = {name: [f"/tmp/{HOSTILE}"] for name in ("places", "files")}
    return results_of(long_log(), HOSTILE, prompt=HOSTILE, notes=[HOSTILE], columns={"prompt": HOSTILE}, **log)


@pytest.fixture(scope="module")
def elements(results):
    return Elements(render(make_page(results)))


def test_text_of_the_log_is_inert(elements):
    assert "script" not in elements.tags
    assert "img" not in elements.tags
    assert not any(name.startswith("on") for name, _ in elements.attributes)
    assert elements.text.count(HOSTILE) >= 4
    assert elements.tags.count("style") == 1 + elements.tags.count("svg")


def test_every_picture_has_one_sentence_below_it(results, elements):
    charts = [chart for section in make_page(results).sections for chart in section.charts]
    assert [type(chart) for chart in charts] == [Chart, Chart, Bars, Chart]
    assert elements.tags.count("figcaption") == len(charts)
    assert all(chart.caption.endswith(".") for chart in charts)


def test_the_extrapolated_part_is_drawn_otherwise(results):
    chart = make_page(results).sections[0].charts[-1]
    exact, beyond = chart.lines
    assert list(exact.x) == [2, 3, 4, 6, 8]
    assert beyond.x[0] == 8
    assert beyond.x[-1] == 64
    assert exact.look != beyond.look


def test_the_parts_of_the_page(elements):
    for part in (
        "In the last fifth of the run", "Shares of the log", "Skipping solved prompts", "What looks wrong",
        "What is known about methods", "Not measured: ", "How the log was read",
    ):  # fmt: skip
        assert part in elements.text


@pytest.mark.parametrize("successes", [[8], [0, 0], [4] * 3])
def test_a_log_of_a_few_groups_has_a_page(successes):
    assert "Audit: a/completions" in render(make_page(results_of(group_table(successes))))


def test_a_report_draws_the_folder(tmp_path, results):
    (tmp_path / "audit.json").write_text(json.dumps(results))
    page = make_report([tmp_path]).page
    assert page.sections[0].title == f"Audit: {tmp_path.name}"
    assert HOSTILE not in render(page)
    assert len(page.sections[0].charts) == 4


def test_a_damaged_result_is_refused(tmp_path, results):
    (tmp_path / "audit.json").write_text(json.dumps({**results, "losses": {}}))
    with pytest.raises(ValueError, match=r"not written by `echorl audit`, or is damaged \(losses.whole is missing\)"):
        make_report([tmp_path])


def test_a_rollout_of_a_suspect_folds_out(results, elements):
    hostile = results_of(long_log(), "why", response=HOSTILE)
    page = Elements(render(make_page(hostile)))
    assert page.tags.count("details") == elements.tags.count("details") == 2  # and the methods
    assert "It is 3." in elements.text
    assert HOSTILE in page.text
    assert "script" not in page.tags


def test_a_share_that_reaches_100_percent_has_no_tick_above():
    from matplotlib.figure import Figure

    chart = Chart("", "", [Line("a", 0, [2, 4], [0.5, 1.0])], percent=True, named=True)
    ax = Figure().subplots()
    chart.draw(ax, legend=True)
    assert max(tick for tick in ax.get_yticks() if tick <= ax.get_ylim()[1]) <= 1


def test_a_text_is_cut_between_words():
    text = shortened("word " * 100, 22, 18)
    assert text == "word word word word ... word word word "
    assert shortened("a" * 60, 20, 20) == "a" * 20 + " ... " + "a" * 20


def test_a_long_prompt_has_its_beginning_and_its_end():
    assert headline("a" * 200 + "z" * 200).startswith("aaa")
    assert headline("a" * 200 + "z" * 200).endswith("zzz")
    assert headline('{"a": 1}') == '{"a": 1}'
    assert headline('[{"role": "user", "content": [{"type": "image"}]}]').startswith("[{")
