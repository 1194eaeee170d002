"""Advice: every method that addresses a kind of group, with what was measured of it or "not measured"."""

from __future__ import annotations

import re
from pathlib import Path

from echorl.lab.audit.advice import ECHORL, PLACES, advise, source, treatments
from echorl.methods import METHODS

ROOT = Path(__file__).parents[3]


def test_every_method_that_addresses_a_kind_is_listed_and_no_other():
    """The gains are compared with the studies in tests/benchmarks/test_rivals.py, which reads them anyway."""
    for kind in ("all_success", "all_fail", "uniform_reward"):
        actions = {each.method: each.action for each in treatments(kind) if each.action != ECHORL}
        assert actions == {name: method.addresses[kind] for name, method in METHODS.items() if kind in method.addresses}


def test_a_method_without_a_study_is_listed_as_not_measured():
    cells = {each.name: each.gain_texts for each in (*treatments("all_fail"), *treatments("all_success"))}
    assert cells["rl_sft"] == ["not measured"] * len(PLACES)
    assert cells["erpo"][0] == "-0.6 [-1.9, +0.7]"
    assert cells["reinforce_ada"][0] == "-7.5 [-9.4, -5.6]*"
    assert {"EchoRL 0.001", "EchoRL 0.1"} < cells.keys()
    forms = {name for name in cells if name.startswith("failure_prefix")}
    assert forms == {"failure_prefix (GRPO's loss)", "failure_prefix (target: 0.5)"}


def test_advice_goes_by_share_and_leaves_out_what_hardly_occurs():
    advice = advise({"all_fail": 0.3, "all_success": 0.1, "uniform_reward": 0.001, "mixed": 0.0})
    assert [each.kind for each in advice] == ["all_fail", "all_success"]
    assert advice[1].sentence == (
        "19 methods act on all-right groups; all of them measured on small tasks. Better than plain GRPO: none. Worse: "
        "exgrpo, failure_prefix (target: 0.5), w_reinforce, reinforce_ada, saturated_learning."
    )
    assert re.match(r"1\d methods act on all-wrong groups; \d+ of them measured on small tasks", advice[0].sentence)
    assert "40% (sums) and 68% (products)" in source()


def test_the_page_of_methods_has_the_same_words():
    text = (ROOT / "docs" / "reference" / "methods.md").read_text(encoding="utf-8")
    table = text[text.index("| `method` | on an all-success group") :].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|")[:3])
        method = METHODS[name.strip("`")]
        for kind, cell in zip(("all_success", "all_fail"), cells, strict=True):
            action = method.addresses.get(kind, "nothing")
            cell = re.sub("^the same$", cells[0], cell)
            assert cell.split(";")[0] == action.split(";")[0], (name, kind)


def test_a_loss_that_no_method_addresses_is_named():
    other, mislabelled = advise({"other_reward": 0.2, "mislabelled": 0.1})
    assert other.sentence == "No study of ours measured what to do about groups of one verdict and unequal rewards."
    assert mislabelled.treatments == []
