"""Golds of the benchmark files: each one's own answer is accepted, a shuffled one is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from echorl.tasks.verify import GRADERS, ChoiceGrader, Validation, Verdict
from tests.tasks.verify.golds import Golds, golds_of

EVERY = {"minerva": 20, "olympiad_bench": 20, "math": 20, "math500": 20}
"""math-verify takes up to 4 s for two formulas: of these, every twentieth gold here, all in `benchmarks.grading`."""
ROWS = {"aime": 960, "aime25": 960, "amc": 2656, "math": 500, "minerva": 272, "olympiad_bench": 675, "math500": 500}
ROWS |= {"gsm8k train": 7473, "gsm8k test": 1319, "arc_challenge": 1172, "mmlu_pro": 12032, "geometry3k": 601}


class Generous(ChoiceGrader):
    """Accepts whatever starts with a letter before F, refuses an F."""

    def judge(self, answer: str, gold: str) -> Verdict:
        return Verdict(float(answer < "F"))


def test_a_bad_grader_is_found_out() -> None:
    found = Generous().validate(["A", "B", "F", "B"])
    assert (found.own, found.own_accepted, found.other, found.other_accepted) == (4, 3, 4, 3)
    assert len([slip for slip in found.slips if slip.kind == "other"]) == 3
    assert [(slip.gold, slip.completion) for slip in found.slips if slip.kind == "own"] == [("F", "The answer is F.")]


def test_golds_of_one_value_are_not_told_apart() -> None:
    assert GRADERS["math"].validate(["0.5", "\\frac{1}{2}", "1/2", "$0.50$"]) == Validation(4, 4, 0, 0)
    assert GRADERS["number"].validate(["1,000", "1000"]) == Validation(2, 2, 0, 0)
    assert GRADERS["choice"].validate([]) == Validation(0, 0, 0, 0)


def test_a_gold_without_a_reading_is_listed() -> None:
    found = GRADERS["math"].validate(["12 \\text{ feet } 3 \\text{ inches}", "\\frac{1}{2}"])
    assert (found.own_accepted, found.unreadable) == (2, ("12 \\text{ feet } 3 \\text{ inches}",))


@pytest.fixture(scope="module")
def golds(shared_data: Path) -> Golds:
    found = golds_of(shared_data)
    assert {name: len(golds) for name, (_, golds) in found.items()} == ROWS
    return found


@pytest.mark.parametrize("name", ROWS)
def test_golds_validate(golds: Golds, name: str) -> None:
    grader, all_golds = golds[name]
    some = all_golds[:: EVERY.get(name, 1)]
    found = GRADERS[grader].validate(some)
    assert found.own == found.own_accepted == (2 * 601 - 3 if name == "geometry3k" else len(some))
    assert found.unreadable == ()
    assert found.other >= 0.7 * found.own
    assert found.other_accepted < 0.001 * found.other


def test_math_verify_itself_reads_every_gold(golds: Golds) -> None:
    """Equal texts are judged without it; an answer that is written otherwise is not."""
    distinct = list(dict.fromkeys(gold for name in EVERY for gold in golds[name][1]))[::8]
    pool = GRADERS["math"].pool
    outcomes = pool.call_each("math_equal", [(gold, gold + " ") for gold in distinct], timeout=30)
    assert [gold for gold, outcome in zip(distinct, outcomes, strict=True) if outcome.value is not True] == []


def test_reasoning_gym() -> None:
    from echorl.tasks import load_task

    for generator in ("chain_sum", "polynomial_equations"):
        golds = load_task("reasoning_gym", generator=generator).dataset("test", size=10)["instance"][:]
        found = GRADERS["reasoning_gym"].validate(golds)
        assert (found.own, found.own_accepted, found.other_accepted) == (10, 10, 0)
