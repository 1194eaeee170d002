from __future__ import annotations

import pytest

from echorl.tasks.verify import GRADERS

GRADER = GRADERS["choice"]


THE_LETTER_C = [
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
]


def test_the_letter_c_is_read_as_a_choice() -> None:
    assert {text: label for text in THE_LETTER_C if (label := GRADER.answer(text)) != "C"} == {}


NO_LETTER = [
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
    "The answer is A and C only.",
    "\\boxed{A and C together}",
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
]


def test_a_text_without_a_label_is_no_answer() -> None:
    assert {text: label for text in NO_LETTER if (label := GRADER.answer(text))} == {}


@pytest.mark.parametrize("letter", "ABCDEFGHIJ")
def test_every_letter_is_read(letter: str) -> None:
    for text in (
        letter,
        f"The answer is {letter}.",
        f"\\boxed{{{letter}}}",
        f"<answer>{letter}</answer>",
        f"({letter})",
    ):
        assert GRADER.answer(text) == letter
    texts, reference_answers = [f"The answer is {letter}."] * 10, list("ABCDEFGHIJ")
    assert [verdict.score for verdict in GRADER.grade(texts, reference_answers)] == [
        float(reference_answer == letter) for reference_answer in reference_answers
    ]


def test_digits_are_read_where_the_reference_answer_is_a_digit() -> None:
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


def test_a_text_without_an_answer_says_so() -> None:
    assert GRADER.grade(["I think so", "A"], ["I", "B"])[0].reason == "no answer"
    assert GRADER.grade(["I think so", "A"], ["I", "B"])[1].reason == ""
    assert GRADER.grade([], []) == []


SIGNS = [
    ("B", "Answer：B"),
    ("B", "<answer>The answer is B</answer>"),
    ("B", "Answer∶ B"),
    ("B", "Answer - B"),
    ("B", "Answer is: B"),
    ("B", "Answer — B"),
    ("B", "Answer – B"),
    ("B", "Answer -> B"),
    ("B", "The answer is （Ｂ）。"),
    ("B", "Ｂ"),
    ("B", "（Ｂ）"),
    ("B", "\\boxed{（Ｂ）}"),
    ("B", "\\boxed{The answer is B}"),
    ("B", "\\boxed{Answer: B}"),
    ("B", "答案：B"),
    ("B", "答案是B"),
    ("B", "Answer: Ⓑ"),
    ("B", "The answer is 【B】."),
    ("B", "Answer:\u200bB"),
    ("B", "\\boxed{\\text{Answer: } B}"),
    ("B", "<answer>Answer：B</answer>"),
    ("B", "𝐁"),
    ("B", "The answer is B, not A."),
    ("B", "The answer is B (not A)."),
    ("B", "The answer is B: I and II only"),
    ("B", "\\boxed{B. I and II only}"),
    ("B", "\\boxed{B) II and III}"),
    ("B", "The answer is (B) I and II."),
    ("B", "\\boxed{B. A and C}"),
    ("B", "\\boxed{(B) both A and C}"),
    ("B", "The answer is B. A is wrong"),
    ("B", 'The answer is B "Mars"'),
    ("B", "The answer is B - Mars"),
    ("B", 'The answer is B: "Mars"'),
    ("B", "The answer is B!"),
    ("B", "B"),
    ("B", "The answer is B. I am sure."),
    ("B", "The answer is B, I think."),
    ("B", "The answer is B and I am sure"),
    ("B", "The answer is B. A man"),
    ("F", "\\boxed{F. (C) output is labor intensive}"),
    ("F", "The answer is F: (C) output is labor"),
    ("F", "F. (C) output is labor"),
    ("F", "\\boxed{(F) (C) output is labor}"),
    ("A", "The answer is A (Mars)."),
    ("A", "The answer is A."),
    ("A", "The answer is A, a fine of $500."),
    ("A", "The answer is A\nB is wrong"),
    ("A", "The answer is **A** because"),
    ("A", "A"),
    ("A", "The answer is A: $500"),
    ("A", 'The answer is A: "Mars"'),
    ("A", 'The answer is "A".'),
    ("A", "The answer is A. $500 fine"),
    ("A", "The answer is $A$ since"),
    ("A", "The answer is $A$."),
    ("I", "The answer is I."),
    ("I", "\\boxed{I}"),
    ("I", "I"),
    ("I", "The answer is (I)."),
]


def test_signs_of_other_scripts_and_texts_of_options() -> None:
    assert {text: label for expected, text in SIGNS if (label := GRADER.answer(text)) != expected} == {}


TWO_LABELS = [
    "The answer is I and II only",
    "The answer is I, II and III",
    "The answer is I & II",
    "The answer is I/II",
    "\\boxed{I and III}",
    "I and II",
    "\\boxed{I, II}",
    "The answer is II",
    "The answer is Ⅱ",
    "The answer is I or II",
    "The answer is A $500 fine.",
    "The answer is A 'no-fly' zone.",
    'The answer is A "big" fish.',
    "The answer is A *big* fish.",
    "The answer is A €500 fine.",
    "The answer is A 5-year plan.",
    "The answer is A fine of $500",
    "\\boxed{A \\vee B}",
    "\\boxed{A or maybe C}",
    "\\boxed{A/B}",
    "\\boxed{A|B}",
    "\\boxed{A, maybe B}",
    "\\boxed{either A or B}",
    "\\boxed{A \\lor B}",
    "\\boxed{not A}",
    "\\boxed{A?}",
    "\\boxed{A and/or B}",
    "\\boxed{neither A nor B}",
    "\\boxed{all but A}",
    "\\boxed{A (or B)}",
    "\\boxed{A ∨ B}",
    "\\boxed{A \\land B}",
    "The answer is A or B depending on the case.",
    "The answer is A?",
    "The answer is A, perhaps B.",
    "The answer is A (maybe B).",
    "The answer is A, or B",
    "The answer is either A or B",
    "The answer is not A",
    "\\boxed{A+B}",
    "\\boxed{A & B}",
    "\\boxed{A \\& B}",
    "\\boxed{A, B, C}",
    "\\boxed{A; B}",
    "\\boxed{A \\text{ or } B}",
    "\\boxed{A \\cup B}",
    "\\boxed{¬A}",
    "\\boxed{A B}",
    "A or B",
    "(A) or (B)",
    "A / B",
    "Answer: A/B",
    "Answer: A or B",
    "<answer>A or B</answer>",
    "<answer>The answer is A or B</answer>",
    "\\boxed{(A) (B)}",
    "\\boxed{A) B) C}",
    "\\boxed{A or possibly option C}",
    "\\boxed{A or else B}",
    "The answer is A and also C.",
    "\\boxed{A\\,\\text{or}\\,B}",
    "\\boxed{A \\quad B}",
    "\\boxed{A~B}",
    "\\boxed{A\\\\B}",
    "\\boxed{A \\oplus B}",
    "\\boxed{anything except A}",
    "\\boxed{maybe A}",
    "The answer is A vs B",
    "\\boxed{A-B}",
    "\\boxed{A to C}",
    "\\boxed{A to be}",
    "\\boxed{A if B}",
    "\\boxed{A,B}",
    "\\boxed{A or B or C}",
    "\\boxed{A、B}",
    "\\boxed{A・B}",
    "\\boxed{A or the letter B}",
]


def test_two_labels_and_articles_are_no_answer() -> None:
    assert {text: label for text in TWO_LABELS if (label := GRADER.answer(text))} == {}


@pytest.mark.parametrize("reference_answer", ["C", "(C)", "C.", "c", "\\text{C}", " C ", "（Ｃ）", "C) Mars"])
def test_a_reference_answer_is_read_as_a_label(reference_answer: str) -> None:
    texts = ["The answer is C.", "The answer is B."]
    assert [verdict.score for verdict in GRADER.grade(texts, [reference_answer] * 2)] == [1.0, 0.0]
    assert GRADER.validate([reference_answer]).right_accepted == 1


@pytest.mark.parametrize("reference_answer", ["", "Mars", "K", "A or B", "12"])
def test_a_reference_answer_without_a_label_is_refused(reference_answer: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"the grader 'choice': reference answer 1: .* does not hold a single label; write a letter from A",
    ):
        GRADER.grade(["C", "C"], ["C", reference_answer])


@pytest.mark.parametrize("part", ["A or ", "答案：", "The answer is A or ", "Ａ", "A (", "answer - "])
def test_long_texts_take_linear_time(part: str) -> None:
    assert GRADER.answer(part * (200_000 // len(part)) + "\nThe answer is B") == "B"
