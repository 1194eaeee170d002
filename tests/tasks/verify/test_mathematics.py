from __future__ import annotations

import json
from pathlib import Path

import pytest

from echorl.tasks.verify import GRADERS, Verdict, make_reward

GRADER = GRADERS["math"]


@pytest.mark.parametrize(
    ("text", "reference_answer", "score"),
    [
        ("\\boxed{42}", "42", 1.0),
        ("\\boxed{042.}", "42", 1.0),
        ("\\boxed{43}", "42", 0.0),
        ("\\boxed{43} no: \\boxed{42}", "42", 1.0),
        ("\\boxed{42} no: \\boxed{43}", "42", 0.0),
        ("<think>\\boxed{43}</think> \\boxed{42}", "42", 1.0),
        ("\\boxed{\\frac{1}{2}}", "0.5", 1.0),
        ("\\boxed{0.5}", "$\\frac12$", 1.0),
        ("\\boxed{\\dfrac{1}{2}}", "\\frac{1}{2}", 1.0),
        ("\\fbox{2\\sqrt{3}}", "\\sqrt{12}", 1.0),
        ("\\boxed{x = 5}", "5", 1.0),
        ("so $\\boxed 42$.", "42", 1.0),
        ("so $\\boxed4.2$", "4.2", 1.0),
        ("\\boxed{41} no: \\boxed \\frac{1}{2}", "0.5", 1.0),
        ("\\boxed 42 no: \\boxed{43}", "42", 0.0),
        ("\\boxed x", "x", 1.0),
        ("\\boxed{(x+1)^2}", "x^2+2x+1", 1.0),
        ("\\boxed{(2, 1)}", "(1, 2)", 0.0),
        ("\\boxed{\\{2, 1\\}}", "\\{1, 2\\}", 1.0),
        (f"\\boxed{{{'(' * 12}1{')' * 12}}}", "1", 1.0),
        ("\\boxed{4.5 \\times 10^{33}}", "4.5e33", 1.0),
        ("\\boxed{4.50 \\cdot 10^{33} \\text{ erg}}", "4.5e33", 1.0),
        ("\\boxed{10^{-8}}", "1e-8", 1.0),
        ("\\boxed{2 \\times 10^{-8}}", "1e-8", 0.0),
        ("\\boxed{300000000}", "3e8", 1.0),
        ("\\boxed{2e^{3}}", "2000", 0.0),
        ("\\boxed{\\text{Evelyn}}", "Evelyn", 1.0),
        ("\\boxed{\\text{Evelyn}}", "Angela", 0.0),
    ],
)
def test_verdicts(text: str, reference_answer: str, score: float) -> None:
    verdict = GRADER.grade([text], [reference_answer])[0]
    assert (verdict.score, verdict.reason) == (score, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("42", "no answer"),
        ("The answer is $42$.", "no answer"),
        ("\\boxed{42", "no answer"),
        ("<think> \\boxed{42}", "no answer"),
        ("<think> \\boxed{42} </think> 42", "no answer"),
        ("\\boxed{ }", "no answer"),
        (f"\\boxed{{{'4' * 1001}}}", "too long"),
        (f"\\boxed{{{'(' * 13}42{')' * 13}}}", "too deep"),
        ("\\boxed{garbage 42 ((((}", "unreadable"),
    ],
)
def test_what_is_not_compared_says_why(text: str, reason: str) -> None:
    verdict = GRADER.grade([text], ["42"])[0]
    assert (verdict.score, verdict.reason) == (0.0, reason)


def test_integers_are_one_vote_with_zeros_before_them() -> None:
    assert [GRADER.answer(f"\\boxed{{{number}}}") for number in ("073", "+73", "73.")] == ["73"] * 3


def test_answers_are_keys_for_votes() -> None:
    same = ["\\boxed{\\dfrac{1}{2}}", "\\boxed{ \\frac{1}{2} }", "so $\\boxed{\\tfrac{1}{2}.}$"]
    assert {GRADER.answer(text) for text in same} == {"\\frac{1}{2}"}
    assert GRADER.answer("1/2") == ""


def test_as_a_reward_function() -> None:
    reward = make_reward(GRADER, column="reference_answer")
    chat = [[{"role": "assistant", "content": "\\boxed{2}"}], [{"role": "assistant", "content": "2"}]]
    assert reward(completions=chat, reference_answer=["2", "2"]) == [1.0, 0.0]
    assert reward(completions=["\\boxed{2}", "\\boxed{2}"], reference_answer=[None, "3"]) == [None, 0.0]
    assert reward.__name__ == "math"
    with pytest.raises(ValueError, match="needs the column 'reference_answer'"):
        reward(completions=["\\boxed{2}"])


def test_real_rollouts_agree_with_their_labels(shared_data: Path) -> None:
    """The one that doesn't: a label that calls 10{,}000 for 10{,}000 wrong."""
    rows = [json.loads(line) for line in (shared_data / "math_rollouts/qwen25_math_100x8.jsonl").open()]
    verdicts = GRADER.grade([row["solution"] for row in rows], [row["answer"] for row in rows])
    wrong = [row for row, verdict in zip(rows, verdicts, strict=True) if (verdict.score == 1.0) != row["correct"]]
    assert len(wrong) <= 1
    assert all("{,}" in row["solution"] for row in wrong)


@pytest.mark.parametrize(
    "answer", ["1.5e3\\overline{3}", "\\frac12e5", "\\sqrt3. \\text{ million}", "\\frac1e-9999", "\\sin(1 \\approx x)"]
)
def test_broken_numbers_are_wrong_answers(answer: str) -> None:
    assert GRADER.grade([f"\\boxed{{{answer}}}"] * 2, ["42", "x+1"]) == [Verdict(0.0, "unreadable")] * 2
    assert GRADERS["number"].grade([f"#### {answer}"], ["42"])[0].score == 0.0


@pytest.mark.parametrize("unit", ["^1", "\\%", "/1", " 1/2", "^x", "/x", ":1", "\\over 1", "\\cup 1"])
def test_trees_without_brackets_are_not_too_deep(unit: str) -> None:
    """Whoever reads a tree recurses: one that grows with the answer's length would end the run."""
    completion = f"\\boxed{{2{unit * (990 // len(unit))}}}"
    assert [verdict.score for verdict in GRADER.grade([completion] * 2, ["42", "x+1"])] == [0.0, 0.0]
