"""The stored studies: their packs are whole and give the numbers of the study's page."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.rivals import (
    MAIN,
    MEASURED,
    OTHERS,
    PRETRAINED,
    SECOND,
    STORED,
    document,
    joined,
    measured,
    open_study,
    read_notes,
)
from echorl.lab.compare.packed import open_pack
from echorl.lab.compare.results import make_results

ROOT = Path(__file__).parents[2]
PAGE = Path("docs/studies/rivals.md")
SOLVED = Path("docs/studies/solved.md")
NO_BOOTSTRAP = SimpleNamespace(value=0.0, low=0.0, high=0.0)
"""The intervals that take seconds, and that the tables do not show."""


@pytest.fixture(scope="module")
def studies():
    return {name: open_pack(ROOT / STORED / f"{name}.jsonl.gz") for name in (*MAIN, *SECOND, *OTHERS)}


def test_every_run_of_every_plan_is_there(studies):
    for name, study in studies.items():
        validation = study.validation()
        final = study.comparison.final(study.comparison.chosen(validation))
        assert {study.state(run, list(study.comparison.tests)) for run in final} == {"done"}, name
        assert len(study.pack.runs) == len(validation) + len(final), name
    assert sum(len(study.pack.runs) for study in studies.values()) == 950


@pytest.fixture(scope="module")
def results(studies):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("echorl.lab.compare.table.paired_runs", lambda *_: NO_BOOTSTRAP)
        patch.chdir(ROOT)
        chosen = {**studies, **{name: open_study(name) for name in PRETRAINED}}
        return {name: make_results(chosen[name], chosen[name].methods) for name in (*MAIN, *SECOND, *PRETRAINED)}


def test_the_packs_and_the_registry_give_what_audit_says_of_the_methods(results):
    assert json.loads((ROOT / MEASURED).read_text(encoding="utf-8")) == measured(results)


@pytest.mark.parametrize(("names", "page", "num_arms"), [(MAIN, PAGE, 26), (SECOND, PAGE, 11), (PRETRAINED, SOLVED, 3)])
def test_the_page_has_all_arms_with_the_numbers_of_the_packs(results, names, page, num_arms):
    page = (ROOT / page).read_text(encoding="utf-8")
    table = joined({name: results[name] for name in names})
    rows = [line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == num_arms
    for name, *cells in rows:
        gains = [cell.strip() for cell in cells[: 2 * len(names)]]
        assert f"|{name} | {' | '.join(gains)} |" in page


def test_the_page_of_the_pretrained_model_says_on_how_many_seeds_it_stands(results):
    page = (ROOT / SOLVED).read_text(encoding="utf-8")
    assert f"solved.jsonl.gz --num_seeds {len(results['solved']['seeds'])} " in page


def test_the_tables_have_every_arm(results):
    text = document(results)
    for heading in ("chain_sum, out-of-distribution", "products, training", "products, grid", "What goes with"):
        assert f"## {heading}" in text
    assert text.count("| `grpo` |") == 23


def test_the_words_are_of_arms_that_there_are_and_the_page_gives_the_same_advice(studies, monkeypatch):
    monkeypatch.chdir(ROOT)
    notes = read_notes()
    page = PAGE.read_text(encoding="utf-8")
    for name in MAIN:
        assert notes == studies[name].comparison.notes
        assert set(notes["arms"]) == set(studies[name].comparison.arms)
    for case, advice in notes["tables"][0]["rows"]:
        assert f"| {case} | {advice} |" in page
        named = {word.strip("(),.") for word in advice.split() if "_" in word}
        assert named <= set(notes["arms"])
