"""A comparison's summary: what each arm does on solved prompts, and what it brings."""

from __future__ import annotations

import shutil

import pytest

from echorl.lab.report.sources import read_source
from echorl.lab.report.verdicts import arms_tables, difference_finding, findings, note_tables, verdict_table
from echorl.support.files import read_json, write_json
from tests.lab.report.made import make_comparison


def row(value: float, *, holm: float = 1.0, reference: str | None = "grpo") -> dict:
    difference = {"value": value, "low": value - 1, "high": value + 1} if reference else None
    return {"mean": 50.0 + value, "reference": reference, "difference": difference, "holm": holm if reference else None}


def results(**changes) -> dict:
    measures = {"pass@1, %": {"grpo": row(0, reference=None), "spo": row(1.5, holm=0.01), "echo": row(-2)}}
    updates = {"updates": {arm: {"mean": 65.25} for arm in ("grpo", "spo", "echo")}}
    return {"tests": {"test": measures, "far": measures, "training": updates}, **changes}


def test_a_row_an_arm():
    table = verdict_table(results())
    assert table.head == ["arm", "reference", "updates", "minutes", "test", "far"]
    assert table.rows[0] == ["grpo", "", "65.2", "", "50.0 %", "50.0 %"]
    assert table.rows[1][4] == "+1.5 [+0.5, +2.5]*"
    assert table.rows[2][1] == "grpo"
    assert table.rows[2][4] == "-2.0 [-3.0, -1.0]"


def test_the_study_s_words_are_cells_of_the_summary_and_tables_of_their_own():
    table = {"title": "Advice", "head": ["case", "advice"], "rows": [["always", "tune the rate"]]}
    notes = {
        "arms": {"spo": {"costs": "two numbers\na prompt"}, "echo": {"claimed": "5 points", "costs": "none"}},
        "note": "Claims are the sources' own.",
        "tables": [table],
    }
    summary = verdict_table(results(notes=notes))
    assert summary.head[:5] == ["arm", "reference", "costs", "claimed", "updates"]
    assert [row[2:4] for row in summary.rows] == [["", ""], ["two numbers a prompt", ""], ["none", "5 points"]]
    assert summary.note == f"{verdict_table(results()).note} Claims are the sources' own."
    assert [vars(each) for each in note_tables(results(notes=notes))] == [
        {**table, "note": "", "prose": True, "details": (), "folded": ""}
    ]
    assert note_tables(results()) == []


def test_averages_stand_in_for_their_tests():
    assert verdict_table(results(averages=["far"])).head[4:] == ["far"]


def test_with_one_seed_there_is_none():
    single = results()
    for arms in single["tests"]["test"].values():
        for cell in arms.values():
            cell["difference"] = None
    assert verdict_table(single) is None


def test_without_pass_at_1_there_is_none():
    other = results()
    other["tests"]["test"] = {"pass@4, %": other["tests"]["test"]["pass@1, %"]}
    assert verdict_table(other) is None


def test_tables_of_fewer_seeds_say_so(tmp_path):
    folder = make_comparison(tmp_path / "study")
    write_json(folder / "results.json", {**read_json(folder / "results.json"), "seeds": [0]})
    source = read_source(folder)
    assert source.lead[1:] == ["Seeds in the tables: 1. Runs of further seeds, which are not shown: 2."]
    assert len(source.runs) == 2


def test_stored_scores_without_metrics_make_a_report(tmp_path):
    folder = make_comparison(tmp_path / "study")
    for policy in folder.glob("*/*/*/policy"):
        shutil.rmtree(policy)
    path, advice = folder / "results.json", {"title": "What to do, by case", "head": ["case"], "rows": []}
    write_json(path, {**read_json(path), "notes": {"tables": [advice]}})
    source = read_source(folder)
    assert not source.runs
    assert [table.title for table in source.tables[:2]] == ["Summary", "What to do, by case"]
    assert "have no metrics here" in source.notes[0]


def test_an_arm_a_column_is_for_few_arms_of_one_seed():
    several = results()
    for rows in several["tests"].values():
        for arms in rows.values():
            for cell in arms.values():
                cell["values"] = [50.0, 50.0]
    assert arms_tables(several) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.0, 3.0, "No difference"),
        (1.0, 3.0, "policy is more accurate"),
        (-3.0, -1.0, "policy is less accurate"),
    ],
)
def test_wording_follows_the_interval(low, high, expected):
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    measured = {"difference": None, "bootstrap": difference, "reference": "GRPO"}
    text = difference_finding("EchoRL", "harder", measured, 1)
    assert expected in text
    assert ("doesn't tell which method is better" in text) == (low > 0 or high < 0)
    assert f"{low:+.1f}" in text


@pytest.mark.parametrize(("holm", "expected"), [(0.04, "EchoRL is more accurate"), (0.06, "No difference")])
def test_with_several_seeds_the_corrected_p_value_decides(holm, expected):
    row = {"difference": {"value": 2.0, "low": 1.0, "high": 3.0}, "bootstrap": None, "reference": "GRPO", "holm": holm}
    text = difference_finding("EchoRL", "harder", row, 6)
    assert expected in text
    assert "doesn't tell" not in text


def test_an_arm_without_a_reference_has_no_finding():
    assert difference_finding("EchoRL", "harder", {"difference": None, "bootstrap": None, "reference": None}, 1) == ""
    assert findings({"tests": {}, "notes": {"findings": ["Told."]}}) == ["Told."]
