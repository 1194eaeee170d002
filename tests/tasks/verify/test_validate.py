"""Validation of graders on the benchmark files: each reference answer is accepted, a shuffled one is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from echorl.tasks.verify import GRADERS, ChoiceGrader, Validation, Verdict
from tests.tasks.verify.reference_answers import ReferenceAnswers, reference_answers_of

EVERY = {"minerva": 20, "olympiad_bench": 20, "math": 20, "math500": 20}
"""File -> n: every n-th reference answer is tested, since each takes up to 4 s; `benchmarks.grading` tests all."""
ROWS = {"aime": 960, "aime25": 960, "amc": 2656, "math": 500, "minerva": 272, "olympiad_bench": 675, "math500": 500}
ROWS |= {"gsm8k train": 7473, "gsm8k test": 1319, "arc_challenge": 1172, "mmlu_pro": 12032, "geometry3k": 601}


class Generous(ChoiceGrader):
    """Grader that accepts any letter before F and refuses an F."""

    def judge(self, answer: str, reference_answer: str) -> Verdict:
        return Verdict(float(answer < "F"))


def test_validate_lists_the_wrong_scores_of_a_bad_grader() -> None:
    validation = Generous().validate(["A", "B", "F", "B"])
    assert (validation.right, validation.right_accepted, validation.wrong, validation.wrong_accepted) == (4, 3, 4, 3)
    assert len([slip for slip in validation.slips if slip.kind == "accepted"]) == 3
    assert [(slip.reference_answer, slip.completion) for slip in validation.slips if slip.kind == "refused"] == [
        ("F", "The answer is F.")
    ]


def test_reference_answers_of_equal_value_count_as_equal() -> None:
    assert GRADERS["math"].validate(["0.5", "\\frac{1}{2}", "1/2", "$0.50$"]) == Validation(4, 4, 0, 0)
    assert GRADERS["number"].validate(["1,000", "1000"]) == Validation(2, 2, 0, 0)
    assert GRADERS["choice"].validate([]) == Validation(0, 0, 0, 0)


def test_a_reference_answer_without_a_tree_is_listed() -> None:
    validation = GRADERS["math"].validate(["12 \\text{ feet } 3 \\text{ inches}", "\\frac{1}{2}"])
    assert (validation.right_accepted, validation.unreadable) == (2, ("12 \\text{ feet } 3 \\text{ inches}",))


@pytest.fixture(scope="module")
def reference_answers(shared_data: Path) -> ReferenceAnswers:
    files = reference_answers_of(shared_data)
    assert {name: len(answers) for name, (_, answers) in files.items()} == ROWS
    return files


@pytest.mark.parametrize("name", ROWS)
def test_a_grader_accepts_each_reference_answer_and_no_other(reference_answers: ReferenceAnswers, name: str) -> None:
    grader, all_reference_answers = reference_answers[name]
    some = all_reference_answers[:: EVERY.get(name, 1)]
    validation = GRADERS[grader].validate(some)
    assert validation.right == validation.right_accepted == (2 * 601 - 3 if name == "geometry3k" else len(some))
    assert validation.unreadable == ()
    assert validation.wrong >= 0.7 * validation.right
    assert validation.wrong_accepted < 0.001 * validation.wrong


def test_math_verify_itself_reads_every_reference_answer(reference_answers: ReferenceAnswers) -> None:
    """Equal texts are compared without math-verify, so the grader's own validation does not call it."""
    distinct = list(dict.fromkeys(answer for name in EVERY for answer in reference_answers[name][1]))[::8]
    pool = GRADERS["math"].pool
    outcomes = pool.call_each("math_equal", [(answer, answer + " ") for answer in distinct], timeout=30)
    assert [answer for answer, outcome in zip(distinct, outcomes, strict=True) if outcome.value is not True] == []


def test_reasoning_gym_accepts_its_own_answers_alone() -> None:
    from echorl.tasks import load_task

    for generator in ("chain_sum", "polynomial_equations"):
        reference_answers = load_task("reasoning_gym", generator=generator).dataset("test", size=10)["instance"][:]
        validation = GRADERS["reasoning_gym"].validate(reference_answers)
        assert (validation.right, validation.right_accepted, validation.wrong_accepted) == (10, 10, 0)
