"""A comparison's summary: what each arm does on solved prompts, and what it brings."""

from __future__ import annotations

import shutil
from pathlib import Path

from echorl.methods import METHODS
from echorl.methods.about import ABOUT, ADVICE, ECHORL
from echorl.report.sources import read_source
from echorl.report.verdicts import verdict_table
from echorl.stored import read_json, write_json
from tests.report.made import make_comparison


def row(value: float, *, holm: float = 1.0, reference: str | None = "grpo") -> dict:
    found = {"value": value, "low": value - 1, "high": value + 1} if reference else None
    return {"mean": 50.0 + value, "reference": reference, "difference": found, "holm": holm if reference else None}


def results(**changes) -> dict:
    measures = {"pass@1, %": {"grpo": row(0, reference=None), "spo": row(1.5, holm=0.01), "echo": row(-2)}}
    updates = {"updates": {arm: {"mean": 65.25} for arm in ("grpo", "spo", "echo")}}
    methods = {
        "grpo": {"method": "grpo", "echo_coef": 0.0},
        "spo": {"method": "spo", "echo_coef": 1e-30},
        "echo": {"method": "grpo", "echo_coef": 0.001},
    }
    return {"tests": {"test": measures, "far": measures, "training": updates}, "methods": methods, **changes}


def test_a_row_an_arm():
    table = verdict_table(results())
    assert table.head[6:8] == ["test", "far"]
    assert table.rows[0] == ["grpo", "", ABOUT["grpo"].solved, "none", "65.2", "", "50.0 %", "50.0 %", ""]
    assert table.rows[1][2] == ABOUT["spo"].solved
    assert table.rows[1][6] == "+1.5 [+0.5, +2.5]*"
    assert table.rows[2][1:3] == ["grpo", ECHORL.solved]
    assert table.rows[2][6] == "-2.0 [-3.0, -1.0]"


def test_a_claim_is_of_the_papers_setting_alone():
    arms = {
        "echo": {"method": "grpo", "echo_coef": 0.001, "echo_select": "max_entropy"},
        "spo": {"method": "grpo", "echo_coef": 0.1, "echo_select": "random"},
        "grpo": {"method": "grpo", "echo_coef": 0.1, "echo_select": "max_entropy"},
    }
    cells = {row[0]: (row[2], row[-1]) for row in verdict_table(results(methods=arms)).rows}
    assert cells["echo"] == (ECHORL.solved, ECHORL.claim)
    assert cells["spo"] == ("NLL of one prefix (random)", "")
    assert cells["grpo"] == (ECHORL.solved, "")


def test_averages_stand_in_for_their_tests():
    assert verdict_table(results(averages=["far"])).head[6:-1] == ["far"]


def test_without_methods_or_seeds_there_is_none():
    assert verdict_table(results(methods=None)) is None
    single = results()
    for arms in single["tests"]["test"].values():
        for found in arms.values():
            found["difference"] = None
    assert verdict_table(single) is None


def test_without_pass_at_1_there_is_none():
    other = results()
    other["tests"]["test"] = {"pass@4, %": other["tests"]["test"]["pass@1, %"]}
    assert verdict_table(other) is None


def test_tables_of_fewer_seeds_say_so(tmp_path):
    folder = make_comparison(tmp_path / "study")
    write_json(folder / "results.json", {**read_json(folder / "results.json"), "seeds": [0]})
    source = read_source(folder)
    assert source.lead == ["Seeds in the tables: 1. Runs of further seeds that are there and not shown: 2."]
    assert len(source.runs) == 2


def test_every_method_of_the_table_and_of_the_advice_exists():
    assert set(ABOUT) <= set(METHODS)
    named = {word.strip("(),.") for _, advice in ADVICE for word in advice.split() if "_" in word}
    assert named <= set(METHODS)


def test_the_readme_gives_the_same_advice():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for case, advice in ADVICE:
        assert f"| {case} | {advice} |" in readme


def test_stored_scores_without_metrics_make_a_report(tmp_path):
    folder = make_comparison(tmp_path / "study")
    for policy in folder.glob("*/*/*/policy"):
        shutil.rmtree(policy)
    path = folder / "results.json"
    methods = {"grpo": {"method": "grpo", "echo_coef": 0.0}, "echorl": {"method": "grpo", "echo_coef": 0.001}}
    write_json(path, {**read_json(path), "methods": methods})
    source = read_source(folder)
    assert not source.runs
    assert [table.title for table in source.tables[:2]] == ["What helps on solved prompts", "What to do, by case"]
    assert "have no metrics here" in source.notes[0]
