from __future__ import annotations

import pytest

from echorl.tasks.verify import GRADERS, geometry_reference
from echorl.tasks.verify.geometry import tolerance

GRADER = GRADERS["geometry"]
REFERENCE = geometry_reference("C", 36.373066958946424, [21.0, 29.698484809834998, 36.373066958946424, 42.0])
CLOSE = geometry_reference("B", 100.0, [99.5, 100.0, 100.4, 101.0])


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("The answer is C.", 1.0),
        ("\\boxed{\\text{(C)}}", 1.0),
        ("\\boxed{B}", 0.0),
        ("\\boxed{21\\sqrt{3}}", 1.0),
        ("\\boxed{36.37}", 1.0),
        ("\\boxed{x = 36.4^\\circ}", 1.0),
        ("\\boxed{\\approx 36.4}", 1.0),
        ("\\boxed{x \\approx 36.4^\\circ}", 1.0),
        ("\\boxed{\\text{36.4}}", 1.0),
        ("\\boxed{\\mathbf{36.4}}", 1.0),
        ("\\boxed{36.9}", 0.0),
        ("<answer>36.4 units</answer>", 1.0),
        ("So the answer is 36.4.", 1.0),
        ("The answer is 21\\sqrt{3}", 0.0),  # prose is not read as mathematics
        ("<think>\\boxed{C}", 0.0),
        ("\\boxed{\\frac{109}{3}}", 1.0),
        ("\\boxed{\\infty}", 0.0),
        ("\\boxed{３６.４°}", 1.0),
        ("\\boxed{36 \\frac{2}{5}}", 1.0),
        ("\\boxed{\\text{not } 36.4}", 0.0),
        ("\\boxed{36.4 \\text{ or } 40}", 0.0),
        ("\\boxed{36.4 \\pm 5}", 0.0),
        ("\\boxed{1e999}", 0.0),
        ("The answer is （Ｃ）", 1.0),
        ("\\boxed{y}", 0.0),
        ("It is long.", 0.0),
    ],
)
def test_right_letters_and_values_are_accepted(text: str, score: float) -> None:
    assert GRADER.grade([text], [REFERENCE])[0].score == score


def test_layout_does_not_part_votes() -> None:
    assert {GRADER.answer(text) for text in ("\\boxed{$36.4$.}", "\\boxed{\\text{36.4}}", "The answer is 36.4")} == {
        "36.4"
    }


def test_another_choice_that_is_nearer_wins() -> None:
    texts = ["\\boxed{100.1}", "\\boxed{100.3}", "\\boxed{99.7}", "\\boxed{100.9}"]
    assert [verdict.score for verdict in GRADER.grade(texts, [CLOSE] * 4)] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("value", "expected"), [(12.0, 0.12), (0.38, 0.005), (104.7, 1.047), (0.5, 0.05), (0.0, 0.0)])
def test_the_tolerance_is_relative_or_half_a_decimal(value: float, expected: float) -> None:
    assert tolerance(value) == pytest.approx(expected)


def test_a_value_without_choices_is_graded() -> None:
    reference_answer = geometry_reference("", 5.0, [])
    assert [verdict.score for verdict in GRADER.grade(["\\boxed{5}", "\\boxed{A}"], [reference_answer] * 2)] == [
        1.0,
        0.0,
    ]
    assert GRADER.validate([reference_answer, geometry_reference("", 7.0, [])]).right == 2
    statement = geometry_reference("B", None, [])
    assert [verdict.score for verdict in GRADER.grade(["\\boxed{B}", "\\boxed{2}"], [statement] * 2)] == [1.0, 0.0]
    with pytest.raises(ValueError, match="neither a letter nor a value"):
        geometry_reference("", None, [])
    with pytest.raises(ValueError, match=r"the value nan or one of the choices .* is not a number; exclude the item"):
        geometry_reference("A", float("nan"), [])
