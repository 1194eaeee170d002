"""From folders to a page: a line for runs that differ in the seed alone, every kind of folder, errors with the fix."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from echorl.lab.report.assemble import make_report, slug
from echorl.lab.report.charts import HEADROOM, Chart, Line
from echorl.lab.report.curves import METRICS, band, group_areas, groups_table, make_charts, series, statistics_tables
from echorl.lab.report.limits import ONE_SEED, UNTUNED
from echorl.lab.report.page import render
from echorl.lab.report.sources import read_source, read_sources
from echorl.lab.report.training import group_by_seed, read_metrics, read_run
from tests.lab.report import made
from tests.lab.report.test_page import Elements

REWARD = METRICS[0]


def runs(*folders):
    return [read_run(folder)[0] for folder in folders]


def section(report, title):
    return next(section for section in report.page.sections if section.title.startswith(title))


def test_runs_that_differ_in_the_seed_alone_are_one_arm(tmp_path):
    folders = [
        made.make_run(tmp_path / f"{coef}-{seed}", seed=seed, coef=coef) for coef in (0.0, 0.001) for seed in (0, 1)
    ]
    arms = group_by_seed(runs(*folders))
    assert [(arm.label, [run.seed for run in arm.runs]) for arm in arms] == [
        ("echo_coef 0.0", ["0", "1"]),
        ("echo_coef 0.001", ["0", "1"]),
    ]


def test_a_default_that_is_written_out_makes_no_difference(tmp_path):
    spelled = made.make_run(tmp_path / "a", seed=1, echo_scope="verified", logging_steps=5)
    [arm] = group_by_seed(runs(spelled, made.make_run(tmp_path / "b")))
    assert arm.label.endswith("/a")


def test_runs_of_unknown_options_stand_alone(tmp_path):
    folders = [made.make_run(tmp_path / name) for name in ("a", "b")]
    for folder in folders:
        (folder / "config.yaml").unlink()
    assert [arm.label.rpartition("/")[2] for arm in group_by_seed(runs(*folders))] == ["a", "b"]


def test_many_differences_are_told_by_the_folder(tmp_path):
    changed = made.make_run(tmp_path / "one", beta=0.1, num_generations=4, temperature=0.7)
    labels = [arm.label for arm in group_by_seed(runs(changed, made.make_run(tmp_path / "two", coef=0.0)))]
    assert [label.rpartition("/")[2] for label in labels] == ["one", "two"]


def test_the_names_of_runs_stay(tmp_path):
    folders = [made.make_run(tmp_path / f"a{seed}", seed=seed) for seed in (0, 1)]
    report = make_report([*folders, made.make_run(tmp_path / "b", coef=0.0)])
    place = tmp_path.name
    assert report.page.title == "EchoRL: a0; a1; b"
    assert section(report, "Training").legend == ["echo_coef 0.001", f"{place}/b (echo_coef 0.0)"]
    table = section(report, "Training").tables[-1]
    assert [row[1] for row in table.rows] == [f"{place}/a0, {place}/a1", f"{place}/b"]


def test_a_curve_of_shares_lies_within_its_chart():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    Chart("Blank tokens", "step", [Line("a", 0, [1, 2, 3], [0.11, 0.1, 0.12])], percent=True).draw(ax, legend=False)
    assert ax.get_ylim() == (0, pytest.approx(0.12 * HEADROOM))


def test_a_band_by_hand():
    line = band([([1, 2, 3], [0.0, 1.0, 2.0]), ([1, 2], [2.0, 1.0]), ([], [])], label="a", look=3)
    assert (line.x, line.y, line.low, line.high) == ([1, 2], [1.0, 1.0], [0.0, 1.0], [2.0, 1.0])
    apart = band([([0, 10], [0.0, 10.0]), ([5, 15], [0.0, 10.0])], label="a", look=0)
    assert (list(apart.x), list(apart.y)) == ([5, 10], [2.5, 7.5])
    single = band([([1, 2], [5.0, 6.0])], label="a", look=0)
    assert (list(single.y), list(single.low)) == ([5.0, 6.0], [])
    assert not band([([1], [0.0]), ([2], [0.0])], label="a", look=0).x
    assert not band([], label="a", look=0).x


def test_a_long_run_is_thinned_and_keeps_its_ends():
    line = band([(range(5000), [float(i) for i in range(5000)])], label="a", look=0)
    assert (len(line.x), line.x[0], line.x[-1], line.y[-1]) == (300, 0, 4999, 4999.0)


def test_a_series_leaves_out_what_is_no_number(tmp_path):
    [run] = runs(made.make_run(tmp_path / "a", num_steps=3))
    rows = [{**run.rows[0], "reward": float("nan")}, {**run.rows[1], "reward": None}, run.rows[2], {"step": 4}]
    x, y = series(type(run)(run.folder, rows, {}), REWARD, "step")
    assert (x, y) == ([3], [pytest.approx(0.53)])


def test_over_tokens(tmp_path):
    [run] = runs(made.make_run(tmp_path / "a", num_steps=3))
    assert series(run, REWARD, "echo/rollout_tokens")[0] == [100, 200, 300]
    assert series(run, METRICS[1], "echo/rollout_tokens")[0] == [300]  # an evaluation logs no tokens of its own
    assert make_charts(group_by_seed([run]), over="tokens")[0].x_label == "rollout tokens"


def test_only_what_was_logged_is_drawn(tmp_path):
    charts = make_charts(group_by_seed(runs(made.make_run(tmp_path / "a", coef=0.0))))
    titles = [chart.title for chart in charts]
    assert "Reward of the training rollouts" in titles
    assert not any("Echo's NLL" in title for title in titles)


def test_the_group_statistics_by_hand(tmp_path):
    arms = group_by_seed(
        runs(made.make_run(tmp_path / "a", num_steps=2), made.make_run(tmp_path / "b", seed=1, num_steps=2))
    )
    [table] = statistics_tables(arms)
    # Of two steps with 100 tokens each: mixed 0.5 and 0.5, all-success 0.25 and 0.5, all-fail 0.25 and 0; two seeds.
    assert table.head == ["", "mixed", "all-success", "all-fail"]
    assert table.rows[0][1:] == ["50.0% · 200 (50.0%)", "37.5% · 150 (37.5%)", "12.5% · 50 (12.5%)"]


def test_a_line_that_is_being_written_is_left_out_with_a_note(tmp_path):
    path = made.make_run(tmp_path / "a", num_steps=3) / "metrics.jsonl"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + '{"step": 4, "rew', encoding="utf-8")
    rows, [note] = read_metrics(path)
    assert len(rows) == 5
    assert "half written" in note
    lines = whole.splitlines()
    path.write_text("\n".join([lines[0], lines[1][:9], *lines[2:], "[1]\n"]), encoding="utf-8")
    rows, [note] = read_metrics(path)
    assert (len(rows), note.endswith("2 lines (the first: 2) are damaged and left out.")) == (4, True)


def test_every_kind_of_folder_on_one_page(tmp_path):
    folders = [
        made.make_run(tmp_path / "run"),
        made.make_comparison(tmp_path / "study"),
        made.make_one_seed(tmp_path / "quick"),
        made.make_evaluation(tmp_path / "scores"),
        made.make_probe(tmp_path / "probe"),
        made.make_analysis(tmp_path / "analysis"),
    ]
    report = make_report(folders)
    assert report.page.title == "EchoRL: run and 5 others"
    assert [each.title.split(":")[0] for each in report.page.sections] == [
        "Comparison", "Comparison", "Evaluation of m", "Probe of quickstart", "Analysis of quickstart", "Training",
    ]  # fmt: skip
    labels = section(report, "Training").legend
    assert {"grpo", "echorl", "GRPO", "GRPO+EchoRL"} < set(labels)
    html = Elements(render(report.page))
    assert "script" not in html.tags  # no rollouts, no gallery
    assert "400 prompts would settle it" in html.text
    assert html.text.count(made.HOSTILE) == 1
    assert html.text.count("<script>alert(1)</script></script><!--<img") == 2  # a chart's title has several lines
    assert ("aria-label", made.HOSTILE) in html.attributes
    assert "nan" not in html.text.lower().split()


def test_a_finished_comparison_shows_the_runs_that_are_compared(tmp_path):
    report = make_report([made.make_comparison(tmp_path / "study")])
    table = section(report, "Training").tables[-1]
    assert [row[:2] for row in table.rows] == [["grpo", "0, 1"], ["echorl", "0, 1"]]
    tables = {table.title: table for table in section(report, "Comparison").tables}
    assert list(tables) == ["Summary", "Results: test", "Results: training", "Learning-rate grid"]
    [chart] = [chart for chart in report.charts if chart.title == "pass@1, test"]
    # Prompt by prompt EchoRL has one more of two samples right on the first: 25 points, with both seeds.
    assert chart.rows == [("echorl − grpo", pytest.approx(25.0), pytest.approx(25.0), pytest.approx(25.0))]


def test_a_study_of_one_seed_has_an_arm_a_column(tmp_path):
    report = make_report([made.make_one_seed(tmp_path / "study")])
    assert report.page.title == "Sums"
    assert report.page.lead == []  # the model before training lacks no metrics
    comparison = section(report, "Comparison")
    assert comparison.lead == [f"{ONE_SEED} {UNTUNED}", "A policy adds numbers."]
    tables = {table.title: table for table in comparison.tables}
    assert list(tables) == ["Accuracy", "How the answers look", "What training took"]
    accuracy = tables["Accuracy"]
    assert accuracy.head == ["", "before-training", "GRPO", "GRPO+EchoRL", "GRPO+EchoRL − GRPO"]
    assert accuracy.rows[0][0] == "pass@1, test"
    assert accuracy.rows[0][1].startswith("33.3% [")
    assert accuracy.rows[0][2].startswith("50.0% [")
    assert accuracy.rows[0][4] == "0.0 [0.0, 0.0]"
    assert ["blank tokens, harder", "12.0%", "12.0%", "12.0%"] in tables["How the answers look"].rows
    assert tables["What training took"].head == ["", "GRPO", "GRPO+EchoRL"]
    assert ["updates without policy gradient", "2", "2"] in tables["What training took"].rows
    assert comparison.findings == [
        "The gradient comes back.",
        "Updates without any policy gradient: 2 of 6 under GRPO (largest gradient norm in them: 0), 2 of 6 under "
        "GRPO+EchoRL (largest gradient norm in them: 0.001).",
        *(
            f"GRPO+EchoRL − GRPO is 0.0 [0.0, 0.0] percentage points of pass@1, {test}: without any spread the "
            "interval tells nothing."
            for test in ("test", "harder")
        ),
    ]
    assert [chart.title for chart in report.charts[:2]] == [
        "Groups of rollouts, GRPO",
        "Accuracy in one run of each arm",
    ]


def test_how_the_groups_changed_by_hand(tmp_path):
    [table] = groups_table(group_by_seed(runs(made.make_run(tmp_path / "a", num_steps=10))))
    # All-success is 0.05 of the groups after the first of ten steps, and 0.1 after the second: a fifth.
    rows = dict(table.rows)
    assert rows["all-success groups"] == "8% → 48%"
    assert rows["mixed groups"] == "50% → 50%"
    assert rows["tokens spent on all-success groups"] == "8% → 48%"
    assert "truncated groups" not in rows
    assert groups_table(group_by_seed(runs(bare_run(tmp_path / "b")))) == []


def bare_run(folder):
    """A run that logged a reward alone."""
    made.make_run(folder)
    (folder / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n', encoding="utf-8")
    return folder


def test_the_areas_of_the_groups_are_the_mean_of_the_seeds(tmp_path):
    folders = [made.make_run(tmp_path / str(seed), seed=seed, num_steps=4) for seed in (0, 1)]
    [arm] = group_by_seed(runs(*folders))
    areas = group_areas(arm)
    assert areas.shares["all_success"] == pytest.approx([0.125, 0.25, 0.375, 0.5])
    assert [sum(step) for step in zip(*areas.shares.values(), strict=True)] == pytest.approx([1.0] * 4)
    [bare] = group_by_seed(runs(bare_run(tmp_path / "bare")))
    assert group_areas(bare) is None


def test_an_unfinished_comparison_shows_how_far_it_is(tmp_path):
    folder = made.make_comparison(tmp_path / "study", finished=False)
    made.write_json(folder / "grpo/rate-0.0001/seed-0/run.json", {"key": {}, "value": None})
    report = make_report([folder])
    assert report.page.lead == [f"{folder}: 1 of 5 runs have no metrics here, so no curves."]
    assert section(report, "Training").legend[0] == "echorl, rate 0.0001"
    rows = {row[0]: row[1:] for row in section(report, "Comparison").tables[0].rows}
    assert rows["grpo/rate-0.0001/seed-1000"] == ["6", "600", "75.0%"]
    assert rows["grpo/rate-0.0001/seed-0"] == ["", "", ""]


def test_stored_runs_without_metrics_or_results_show_how_far_they_are(tmp_path):
    folder = made.make_comparison(tmp_path / "study", finished=False)
    for policy in folder.glob("*/*/*/policy"):
        shutil.rmtree(policy)
    source = read_source(folder)
    assert "`echorl compare STUDY.yaml` makes it in seconds" in source.lead[0]
    assert source.tables[0].rows[0][1:3] == ["6", "600"]


def test_some_runs_of_a_comparison(tmp_path):
    folder = made.make_comparison(tmp_path / "study")
    report = make_report([folder / "grpo/rate-0.0001/seed-0", folder / "grpo/rate-0.0001/seed-1"])
    assert section(report, "Training").legend == ["grpo, rate 0.0001"]
    assert report.page.title == "EchoRL: grpo, rate 0.0001"
    (folder / "grpo/rate-0.0001/seed-0/policy/metrics.jsonl").unlink()
    with pytest.raises(ValueError, match="wait for the first log"):
        read_source(folder / "grpo/rate-0.0001/seed-0")


def test_the_probe_s_numbers(tmp_path):
    source = read_source(made.make_probe(tmp_path / "probe"))
    [table] = source.tables
    row = dict(zip(table.head, table.rows[1], strict=True))
    assert row["cosine with pass@1"] == "-0.26 (0.12)"
    assert row["cosine with entropy"] == row["rollouts saved"] == "–"
    assert row["coefficient for 1 / 10 / 100 % of the policy gradient"] == "0.001 / 0.01 / –"
    [chart] = source.charts
    assert [round(value, 4) for value in chart.rows[1][1:]] == [-0.26, -0.4952, -0.0248]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "it has no probe.json .probe.; entropy.json or .* metrics.jsonl .train.\\."),
        (lambda folder: made.write_json(folder / "config.yaml", {}), "has no metrics.jsonl: nothing is logged yet"),
        (lambda folder: made.write_json(folder / "metrics.jsonl", []), "holds no line of metrics: wait"),
        (lambda folder: made.write_json(folder / "summary.json", {"a": 1}), "was not written by `echorl mine`"),
        (lambda folder: made.write_json(folder / "a/rate-1/seed-0/run.json", {}), "no run with a line of metrics"),
    ],
)
def test_errors_name_what_is_missing(tmp_path, make, words):
    make(tmp_path / "runs")
    with pytest.raises(ValueError, match=words):
        make_report([tmp_path / "runs"])


@pytest.mark.parametrize("changes", [{"over": "time"}, {"limit": 0}])
def test_arguments_that_are_not_allowed(tmp_path, changes):
    with pytest.raises(ValueError, match="is not allowed: it must be"):
        make_report([made.make_run(tmp_path / "a")], **changes)


def test_pngs(tmp_path):
    report = make_report([made.make_analysis(tmp_path / "analysis"), made.make_probe(tmp_path / "probe")])
    paths = report.write_pngs(tmp_path / "page")
    assert len(paths) == len(set(paths)) == len(report.charts)
    assert paths[1].name == "page-cosine-with-the-gradient-of-pass-1.png"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert (slug("$a$ / ß"), slug("!")) == ("a-ß", "chart")


def test_charts_of_one_title_are_numbered_among_themselves(tmp_path):
    other = made.make_analysis(tmp_path / "analysis")
    report = make_report([made.make_probe(tmp_path / "a"), other, made.make_probe(tmp_path / "b")])
    title = "page-cosine-with-the-gradient-of-pass-1"
    names = [path.stem for path in report.write_pngs(tmp_path / "page")]
    assert [name for name in names if name.startswith(title)] == [title, f"{title}-2"]


def test_the_same_runs_give_the_same_page(tmp_path):
    folders = [made.make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    made.dump(folders[0], made.group_rows(0, 0))
    first, second = (make_report(folders).page for _ in range(2))
    assert render(first) == render(second)
    assert json.loads(first.gallery)["groups"][0]["rollouts"]


def test_a_run_named_twice_is_one_arm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, other = (made.make_run(tmp_path / name, coef=coef) for name, coef in (("a", 0.0), ("b", 0.1)))
    (tmp_path / "link").symlink_to(run)
    places = [Path("a"), run, tmp_path / "link", run / "metrics.jsonl", Path("b/../a"), other]
    assert [source.folder for source in read_sources(places)] == [Path("a"), other]
    assert make_report(places).page.sections == make_report([Path("a"), other]).page.sections


def test_a_run_of_a_comparison_is_not_shown_beside_it(tmp_path):
    study = made.make_comparison(tmp_path / "study", finished=False)
    runs = sorted(mark.parent for mark in study.glob("*/rate-*/seed-*/run.json"))
    for places in ([study, runs[0]], [runs[0], study], [study, runs[0] / "policy", study.absolute()]):
        assert [source.folder for source in read_sources(places)] == [study]
    assert len(read_sources(runs[:2])) == 2
