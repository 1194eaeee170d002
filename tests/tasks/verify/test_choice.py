from __future__ import annotations

import pytest

from echorl.tasks.verify import GRADERS

GRADER = GRADERS["choice"]


@pytest.mark.parametrize(
    "text",
    [
        "The answer is C.",
        "the answer is c",
        "Answer: c",
        "ANSWER: C",
        "**Answer: (C)**",
        "The correct answer is **C. Mars**",
        "The best answer is\n(C) both A and B",
        "The answer to this question is C",
        "Answer: The correct option is C",
        "The answer is C because A is too hot.",
        "The answer is C, not B.",
        "The answer is (C) Mars, since A and B are stars.",
        "The answer is $\\text{C}$.",
        "I rule out answer A. The final answer is C",
        "The answer is A. No: the answer is C. That is my answer.",
        "Answer: C\n\nExplanation: A is a star.",
        "The answer is C\nD would be wrong.",
        "Answer: **C**\n\nA) is a star.",
        "The answer is (C)\nB",
        "The answer is “C”.",
        "Option C is correct.",
        "C is the correct answer.",
        "\\boxed{C}",
        "\\boxed{c}",
        "\\boxed{C) Mars}",
        "\\boxed{\\text{(C)}}",
        "\\boxed{\\text{C. Mars}}",
        "\\boxed{\\mathrm{C}}",
        "$\\boxed{\\textbf{(C)}}$",
        "\\boxed{\\left(C\\right)}",
        "\\boxed{\\mbox{C}}",
        "\\boxed{\\text{Option C}}",
        "\\boxed{Option\\ C: Mars}",
        "The answer is A. \\boxed{C}",
        "\\boxed{A} \\boxed{C}",
        "<answer> C </answer>",
        "<answer>C. Mars</answer>",
        "<answer>\\boxed{C}</answer>",
        "<think>The answer is A.</think>\nThe answer is C.",
        "(C)",
        "C",
        " **C** ",
        "C. Mars",
        "C) Mars",
        "### Answer\nC",
        "$\\text{C}$",
        "Mars is red.\n\nC: Mars\n",
    ],
)
def test_the_letter_c(text: str) -> None:
    assert GRADER.answer(text) == "C"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "I think it is Mars.",
        "I am sure",
        "A man walks in.",
        "The answer is a man.",
        "The answer is a\nman.",
        "The answer is unclear",
        "The answer is not C",
        "The answer isn't C",
        "The answer is (A) or (B)",
        "The answer is A and C.",
        "The answer is A,\nand C.",
        "\\boxed{A, B}",
        "\\boxed{Option A or option C}",
        "\\boxed{AB}",
        "\\boxed{A \\text{ and } C}",
        "\\boxed{Mars}",
        "\\boxed{I think}",
        "\\boxed{C",
        "<think>The answer is C.",
        "<think>\\boxed{C}</think>",
        "<answer>C",
        "K",
        "The answer is Z.",
        "Plan C",
        "c",
        "C++ is a language",
        "C'est la vie",
    ],
)
def test_no_letter(text: str) -> None:
    assert GRADER.answer(text) == ""


@pytest.mark.parametrize("letter", "ABCDEFGHIJ")
def test_every_letter(letter: str) -> None:
    for text in (
        letter,
        f"The answer is {letter}.",
        f"\\boxed{{{letter}}}",
        f"<answer>{letter}</answer>",
        f"({letter})",
    ):
        assert GRADER.answer(text) == letter
    texts, golds = [f"The answer is {letter}."] * 10, list("ABCDEFGHIJ")
    assert [verdict.score for verdict in GRADER.grade(texts, golds)] == [float(gold == letter) for gold in golds]


def test_digits_where_the_gold_is_one() -> None:
    texts = [
        "The answer is 2.",
        "\\boxed{2) Mars}",
        "2",
        "(3)",
        "The answer is 2.5.",
        "\\boxed{12}",
        "The answer is 2 or 3.",
    ]
    assert [verdict.score for verdict in GRADER.grade(texts, ["2"] * 7)] == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert GRADER.grade(["\\boxed{2}. The answer is C."], ["C"])[0].score == 1.0
    assert GRADER.answer("The answer is 2.") == "2"


def test_no_answer_says_so() -> None:
    assert GRADER.grade(["I think so", "A"], ["I", "B"])[0].reason == "no answer"
    assert GRADER.grade(["I think so", "A"], ["I", "B"])[1].reason == ""
    assert GRADER.grade([], []) == []
