"""`echorl report`'s page in a real browser: filters, keys, hostile rollouts, narrow and dark, and 2,000 rollouts."""

from __future__ import annotations

import json

import pytest

from echorl.lab.report.assemble import make_report
from echorl.lab.report.page import Page, write
from echorl.lab.report.viewer import from_dumps, gallery_json
from echorl.support.visible import visible
from tests.lab.report import made

MANY = 2000


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page of two runs, one with dumps at two steps: 48 rollouts in 12 groups, of which 8 have a clip."""
    folder = tmp_path_factory.mktemp("browser")
    for name, seed, coef in (("0", 0, 0.001), ("1", 1, 0.001), ("plain", 0, 0.0)):
        made.make_run(folder / name, seed=seed, coef=coef)
    for step in (0, 5):
        rows = [row for group in range(6) for row in made.group_rows(step, group)]
        made.dump(folder / "0", rows, f"step-{step:06d}-process-0.parquet")
    return _write(
        folder, make_report([folder / "0", folder / "1", folder / "plain", made.make_probe(folder / "p")]).page
    )


def _write(folder, page):
    write(page, folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def page(report, watched):
    return watched(report)


def shown(page) -> list[str]:
    return page.locator("#list .row-head").all_inner_texts()


def title(page) -> str:
    return page.locator("#detail h3").inner_text()


def test_it_opens_on_the_first_clip(page):
    assert page.locator("#count").inner_text() == "8 of 48 rollouts."
    assert len(shown(page)) == 8
    assert title(page) == "step 0, group 1, rollout 2 of 4: a success"
    assert not page.locator("#no-script").is_visible()
    steps = page.locator("#detail .step")
    assert steps.locator(".text").all_inner_texts() == ["1+1=2⏎", "#### 2<eos>"]
    assert [step.get_attribute("class") for step in steps.all()] == ["step in end", "step"]
    assert page.locator("#detail .won").all_inner_texts() == ["0.20"]
    assert page.locator("#detail .t.h4").first.get_attribute("title") == "0.30 nats"


def test_filters(page):
    def choose(name, value):
        page.locator(f"[name={name}]").select_option(value)
        return page.locator("#count").inner_text()

    assert choose("clip", "") == "48 of 48 rollouts."
    assert choose("kind", "all_fail") == "16 of 48 rollouts."
    assert choose("verdict", "right") == "0 of 48 rollouts."
    assert page.locator("#detail").inner_text() == "No rollout passes the filters."
    assert choose("kind", "mixed") == "8 of 48 rollouts."
    page.locator("[name=first]").fill("1")
    assert page.locator("#count").inner_text() == "4 of 48 rollouts."
    assert all("step 5" in text for text in shown(page))
    page.locator("[name=last]").fill("4")
    assert page.locator("#count").inner_text() == "0 of 48 rollouts."


def test_text_search_and_order(page):
    page.locator("[name=text]").fill("1+1=2")
    assert page.locator("#count").inner_text() == "8 of 48 rollouts."
    page.locator("[name=text]").fill("no such text")
    assert page.locator("#count").inner_text() == "0 of 48 rollouts."
    page.locator("[name=text]").fill("")
    page.locator("[name=order]").select_option("entropy")
    assert len(shown(page)) == 8


def test_keys(page):
    page.keyboard.press("j")
    assert title(page).startswith("step 0, group 2")
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert title(page).startswith("step 0, group 1")
    page.keyboard.press("/")
    page.keyboard.type("jj")
    assert page.locator("[name=text]").input_value() == "jj"
    page.locator("[name=text]").fill("")
    page.keyboard.press("Escape")
    page.locator("#list button[tabindex='0']").focus()
    page.keyboard.press("End")
    assert title(page).startswith("step 5, group 5")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    assert title(page).startswith("step 5, group 4")


def test_tab_reaches_everything_and_shows_where_it_is(page):
    """From the top: the legend, the filters, one row of the list, and the group's other rollouts."""
    seen, outlines = [], set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "[document.activeElement.name || document.activeElement.className || document.activeElement.id"
            " || document.activeElement.dataset.look, getComputedStyle(document.activeElement).outlineStyle]"
        )
        seen.append(name)
        outlines.add(outline)
        if name == "go":
            break
    wanted = ["theme", "0", "1", "kind", "verdict", "clip", "first", "last", "order", "text", "row", "go"]
    assert [name for name in seen if name in wanted] == wanted
    assert outlines <= {"solid", "auto"}


def test_another_rollout_of_the_group(page):
    page.get_by_role("button", name="rollout 3, failure").click()
    assert title(page) == "step 0, group 1, rollout 3 of 4: a failure"
    assert "No clip here." in page.locator("#detail .note").first.inner_text()
    page.locator("#detail .t").first.hover()
    assert page.locator(".readout").inner_text() == "“1+1=2”: 0.30 nats"


def test_a_line_of_the_charts_can_be_hidden(page):
    lines = page.locator("figure .look-0")
    assert lines.first.is_visible()
    page.locator("[data-look='0']").uncheck()
    assert not any(line.is_visible() for line in lines.all())
    assert page.locator("figure .look-1").first.is_visible()


def test_light_and_dark(report, watched):
    page = watched(report, color_scheme="dark")

    def brightness():
        return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")

    assert brightness() < 60
    page.locator("#theme").click()
    assert brightness() > 200
    page.locator("#theme").click()
    assert brightness() < 60


def test_a_phone_has_no_sideways_scrolling(report, watched):
    page = watched(report, viewport={"width": 360, "height": 740}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.locator("#list button").nth(1).tap()
    assert title(page).startswith("step 0, group 2")


def test_without_scripts_the_curves_and_tables_are_there(report, watched):
    page = watched(report, java_script_enabled=False)
    assert page.locator("figure svg").count() > 5
    assert page.locator("#no-script").is_visible()
    assert page.locator("table").count() >= 3
    assert not page.locator("#gallery").is_visible()
    page.locator("[data-look='0']").uncheck()
    assert not page.locator("figure .look-0").first.is_visible()


TEXTS = [
    made.HOSTILE,
    "</script><script>alert(3)</script>",
    "<!--<script>",
    "שלום\u202e abc",
    "e\u0301 🏳️‍🌈 \U0001f9d1‍\U0001f680",
    "\x00\x1b[31m",
    "日本語\n",
]


def test_hostile_rollouts_are_inert(tmp_path, watched):
    rows = [
        row
        for group, text in enumerate(TEXTS)
        for row in made.group_rows(
            0, 3 * group, prompt=text, completion=text, tokens=[text], entropy=[0.7], step_ids=[0]
        )
    ]
    made.dump(tmp_path, rows)
    gallery = gallery_json([(made.HOSTILE, from_dumps(tmp_path / "rollouts", MANY).groups), ("b", [])])
    page = watched(_write(tmp_path, Page(title=made.HOSTILE, lead=[made.HOSTILE], gallery=gallery)))
    assert page.locator("#count").inner_text() == f"{len(TEXTS)} of {4 * len(TEXTS)} rollouts."
    for text in TEXTS:
        drawn = page.locator("#detail .step .t").inner_text()
        assert drawn.replace("⏎", "\n").strip() == _as_seen(text).strip()
        assert _as_seen(text).strip() in page.locator("#detail .prompt").inner_text()
        page.keyboard.press("j")
    assert page.locator("main script, img, iframe").count() == 0
    assert page.evaluate("document.scripts.length") == 2
    # Whatever else got into the page could neither run nor load: the policy names one script by its hash.
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert "default-src 'none'" in policy
    assert "img-src" not in policy  # so no image either
    assert policy.count("script-src 'sha256-") == 1


def _as_seen(text: str) -> str:
    return visible(text)


def test_a_lone_surrogate(tmp_path, watched):
    """JSON can hold one and HTML can't: it is shown as its number."""
    text = json.loads('"a\\ud800b"')
    from echorl.lab.report.gallery import make_rollout
    from echorl.lab.report.viewer import _rollout  # parquet can't hold it: from the row on

    [row, *_] = made.group_rows(0, 0, completion=text, tokens=[text], entropy=[0.7], step_ids=[0])
    group = {
        "run": 0,
        "kind": "mixed",
        "step": 0,
        "name": text,
        "prompt": "",
        "rollouts": [_rollout(make_rollout(row, 1), None)],
    }
    page = watched(_write(tmp_path, Page(title=text, lead=[], gallery=gallery_json([("a", [group])]))))
    assert page.locator("#detail .step .t").inner_text() == "a\\ud800b"


def test_two_thousand_rollouts(tmp_path, watched, capsys):
    """The page's own CPU time until a rollout is drawn, which other things on the machine do not change much."""
    tokens = [f" w{i}" if i % 20 else "\n" for i in range(1, 201)]
    long = {"tokens": tokens, "completion": "".join(tokens), "entropy": [i % 7 / 10 for i in range(200)]}
    long["step_ids"] = [i // 20 for i in range(200)]
    made.dump(tmp_path, made.group_rows(0, 0, size=8, **long))
    [group] = from_dumps(tmp_path / "rollouts", MANY).groups
    groups = [{**group, "name": f"group {number}"} for number in range(1, MANY // 8 + 1)]
    file = _write(tmp_path, Page(title="many", lead=[], gallery=gallery_json([("a", groups)])))
    sessions = []

    def measure(page):
        sessions.append(page.context.new_cdp_session(page))
        sessions[0].send("Performance.enable", {"timeDomain": "threadTicks"})

    page = watched(file, before=measure)
    page.locator("#detail .step").first.wait_for()
    metrics = {one["name"]: one["value"] for one in sessions[0].send("Performance.getMetrics")["metrics"]}
    drawn = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd") / 1000
    with capsys.disabled():
        size, seconds = file.stat().st_size / 1e6, metrics["TaskDuration"]
        print(f"\n{MANY} rollouts of 200 tokens, {size:.1f} MB: {seconds:.2f} s of CPU time, drawn after {drawn:.2f} s")
    assert 0 < seconds < 2
    page.locator("[name=clip]").select_option("")
    assert page.locator("#count").inner_text() == f"{MANY} of {MANY} rollouts."
    assert page.locator("#list li").count() < 100  # the others are made when they are scrolled to
    page.locator("#list button").first.focus()
    page.keyboard.press("End")
    assert title(page) == "step 0, group 250, rollout 8 of 8: a failure"
