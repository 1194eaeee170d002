r"""One number in an answer: with what around it, and with what it is none."""

from __future__ import annotations

from fractions import Fraction

import pytest

from echorl.tasks.verify import GRADERS, NumberGrader
from echorl.tasks.verify.arithmetic import NotRational, evaluate
from echorl.tasks.verify.number import read_answer
from echorl.tasks.verify.quantity import read_quantity

GRADER = GRADERS["number"]

ACCEPTED = {
    "42": [
        "42",
        "42.",
        "$42",
        "$ 42.00",
        "42 apples",
        "\\$42",
        "$42$",
        "\\(42\\)",
        "**42**",
        "x = 42",
        "= 42",
        "The answer is 42.",
        "42 km/h",
        "42 square feet",
        "42 percent",
        "42%",
        "４２",
        "\\text{42}",
        "\\textbf{42 cm}",
        "42\\text{ cm}",
        "20 + 22 = 42",
        "20 apples + 22 apples = 42 apples",
        "20 + 22 = $42",
        "\\approx 42",
        "≈ 42",
        "approximately 42",
        "about 42",
        "~42",
        "\u200b42",
        "42 €",
        "USD 42",
        "42 USD",
        "US$42",
        "£42",
        "Rs. 42",
        "84/2",
        "\\frac{84}{2}",
        "84÷2",
        "6×7",
        "6 x 7 = 42",
        "6*7=42",
        "42 cm^2",
        "42 m²",
        "42 m",
        "42 h",
        "4.2e1",
        "-(-42)",
        "`42`",
        "__42__",
        "<b>42</b>",
        "x=y=42",
        "f(3) = 42",
        "x_1 = 42",
        "Answer: 42",
        "Total: $42.",
        "42 a day",
        "$42 per hour",
        "42 miles / hour",
        "42°",
        "42^\\circ",
        "42 (apples)",
        "\\boxed{42}",
        "✅ 42",
        "42.000",
        "42 apples!",
        "Ella has 24 + 18 = 42 apples.",
        "10 × 4.2 = 42",
        "She has 42 more apples than Ben",
        "In the bags there are 6 x 7 = 42 apples.",
        "\\mathrm{42}",
        "42\\%",
        "{42}",
        "42 km²",
        "42-year",
        "0.42e2",
        "126/3 = 42.00",
        "42 = x",
        "Rs42",
        "\\$42.00 dollars",
        "~ 42",
        "42 dozen",
        "$\\$42$",
        "€42",
        "42 in^3",
        "42cm",
        "42 cm2",
        "It costs 42 dollars",
        "\\[42\\]",
        "42\\,\\text{cm}",
        "42:",
        "“42”",
        "84 * 50% = 42",
        "6(7)=42",
        "→ 42",
        "**Answer:** 42",
        "Answer is **42**.",
        "\\textbf{Answer: } 42",
        "\\underline{42}",
    ],
    "10000": [
        "10\\,000",
        "10 000",
        "10~000",
        "10,000",
        "10{,}000",
        "10,\\!000",
        "10\u2009000",
        "10\u202f000",
        "10'000",
        "10 thousand",
        "$10,000.00",
        "10^4",
        "10^{4}",
        "1 \\times 10^4",
        "10,\\,000",
    ],
    "7/2": [
        "3 1/2",
        "3½",
        "3 ½",
        "3\\frac{1}{2}",
        "3\\frac12",
        "3.5",
        "7/2",
        "\\dfrac{7}{2}",
        "3.5 cups",
        "3 1/2 cups",
        "3\\tfrac12",
    ],
    "1/2": [
        "½",
        "1/2",
        "0.5",
        ".5",
        "\\frac12",
        "50%",
    ],
    "1/3": [
        "0.\\overline{3}",
        "1/3",
        "⅓",
        "0.3̅",
    ],
    "-5": [
        "-5",
        "−5",
        "–5",
        "-$5",
        "$-5",
        "negative 5",
        "minus 5",
        "- 5",
    ],
    "333/100": [
        "10/3 = 3.33",
        "10/3 ≈ 3.33",
    ],
    "3": [
        "10/3 ≈ 3",
    ],
    "1500000": [
        "1.5 million",
    ],
    "24": [
        "4!",
        "4! = 24",
    ],
}
# fmt: off
HEDGES = [
    'not 42', '43 or 42', 'between 40 and 42', '43=42', '42±1', '42_8', '42!', '\\ne 42', '42 or so', 'maybe 42',
    'perhaps 42', '42?', '42, 43', '43, 42', '42-43', '42/43', '42x', '42 x', 'x 42', '42^2', 'at least 42',
    'at most 42', 'more than 42', 'less than 42', 'fewer than 42 apples', '42 or more', '42+', 'up to 42',
    'over 42', 'under 42', '> 42', '< 42', '\\le 42', '\\geq 42', '≠ 42', '!= 42', '43 not 42', '42 not 43',
    "isn't 42", 'never 42', 'not equal to 42', 'either 42 or 43', 'neither 42', '40-42', '40 to 42',
    'from 40 to 42', '42 and 43', '42 & 43', '42; 43', '42 43', '{42, 43}', '[40, 42]', '(42, 43)', '43=41',
    '20+22=43=42', '42 thousand', '42k', '42K', '42M', '42 million', 'half of 42', 'twice 42', '42 and a half',
    '42 1/2', '42½', '42.5.1', '42,5', '42 squared', 'square root of 42', '42 mod 5', '42i', '42e', '42n', '42y',
    'anything but 42', 'all but 42', 'any number except 42', '42-ish', '42ish', 'almost 42', 'nearly 42',
    'close to 42', 'no more than 42', 'not less than 42', 'probably 42', 'it might be 42', 'could be 42',
    'I guess 42', '42 if rounded', 'if not 43 then 42', '42 instead of 43', '42 (or 43)', '42 (not 43)',
    '21 (42)', '42 (43)', '42 : 43', '42 vs 43', 'A42', 'x42', '42a', '4 2', '42 apples 43', '42 apples 43 pears',
    '42 apples, 43 pears', '42 hours and 30 minutes', '42 feet 3 inches', '2x = 42', '3x=42', '42 = 2x',
    '42\\pm1', '\\neg 42', '\\lor 42', '42 \\lor 43', '42 \\vee 43', '42 \\text{ or } 43', '\\text{not }42',
    "42^\\circ 30'", '不是42', 'nicht 42', '42 oder 43', '40 < 42', 'x < 42', 'x > 42', '42 and five',
    '42 plus tax', '42 point five', '1 + 42', '-42', '0.42', '42 base 8', '42 in base eight', '42_{8}',
    '42 \\pmod 5', '#42', '@42', '42 unless 43', 'wrong: 42', '42 is wrong', 'incorrect 42', '42 is false',
    'unknown, 42', '42 no', 'no 42', '42 --', '42 -', '42 *', '* 42 43', '42 = 43', '42 -> 43', '43 => 42',
    '43 \\to 42', '42 remainder 3', '\\frac{42}', '\\frac{42}{}', '42)', '(42', '42...43', '42..43', '+42 43',
    '42 halves', '42 thirds', '42 hundredths', '2 or 42 apples', '10$000', 'fifty or 42', '42, maybe 43',
    '42 twice', 'min 42', 'max 42', 'within 42', '42 + 1', '42 - 1', '42 more than 43', '42\\times', '\\infty',
    '42\\infty', '42\\%43', '\\frac{1}{2}', '42 | 43', '|42|', 'x != 42', 'x!= 42', '43, then 42',
]
# fmt: on


def test_one_number_is_read() -> None:
    cases = [
        (reference, answer, read_quantity(answer)) for reference, answers in ACCEPTED.items() for answer in answers
    ]
    assert [case for case in cases if case[2] is None or Fraction(case[0]) not in case[2].values] == []


def test_hedges_are_no_answer_of_42() -> None:
    cases = {answer: quantity for answer in HEDGES if (quantity := read_quantity(answer)) is not None}
    assert {answer: read for answer, read in cases.items() if not read.values or Fraction(42) in read.values} == {}


@pytest.mark.parametrize(
    ("text", "reference_answer", "score"),
    [
        ("#### Final Answer\n\n18", "18", 1.0),
        ("#### Final Answer\n\nThe answer is $18.\nDone.", "18", 1.0),
        ("####\n18", "18", 1.0),
        ("#### 17\n18", "18", 0.0),
        ("#### 21 (not 18)", "18", 0.0),
        ("#### 36 * 50%", "50", 0.0),
        ("#### 36 * 50%", "18", 1.0),
        ("#### 3 1/2", "3.5", 1.0),
        ("#### 3 1/2", "2", 0.0),
        ("#### 3½", "3.5", 1.0),
        ("#### 10\\,000", "0", 0.0),
        ("#### 10\\,000", "10000", 1.0),
        ("#### ４２", "42", 1.0),
        ("#### 62.5", "62.5%", 1.0),
        ("#### 62.5%", "62.5", 1.0),
        ("<answer>\\boxed{42}</answer>", "42", 1.0),
        ("So in 7 days she sold 6 * 7 = 42 clips.", "42", 1.0),
        ("There are 7 days. The answer is 42.", "42", 1.0),
        ("Take 2 from each: w = 42", "42", 1.0),
        ("She sold 43, and 43 = 42", "42", 0.0),
        ("So 20 + 23 = 42 = 42", "42", 0.0),
        ("It is 42 or 6 * 7 = 42", "42", 0.0),
        ("In 7 days she sold 42 clips.", "42", 0.0),
        ("I don't think that the answer is 42", "42", 0.0),
        ("#### 42", "1e999", 0.0),
    ],
)
def test_completions(text: str, reference_answer: str, score: float) -> None:
    assert GRADER.grade([text], [reference_answer])[0].score == score


def test_roots_go_to_math_verify_and_equations_with_them_have_to_be_true() -> None:
    texts = [
        "#### \\sqrt{1764}",
        "#### sqrt(1764) cups",
        "#### \\sqrt{1764} = 42",
        "#### 1764^{1/2}",
        "#### \\sqrt{1764} = 43",
    ]
    texts += ["#### \\sqrt{4} = 42", "#### \\sqrt{1764} or 43", "#### 1, \\sqrt{1764}"]
    grader = NumberGrader(timeout=60.0)
    assert [verdict.score for verdict in grader.grade(texts, ["42"] * 8)] == [1.0] * 4 + [0.0] * 4


def test_answers_of_one_value_are_one_vote() -> None:
    texts = ["#### 1,000.50", "#### $1000.5", "#### 1 000.5 dollars", "#### 2001/2", "#### 1000 + 0.5 = 1000\\frac12"]
    assert {GRADER.answer(text) for text in texts} == {"1000.5"}
    assert GRADER.answer("#### 1/3") == "1/3"
    assert GRADER.answer("#### -0.05") == "-0.05"
    assert GRADER.answer("#### 42 or 43") == ""
    digits = "12" * 100
    assert GRADER.answer(f"#### {digits}") == digits


@pytest.mark.parametrize("part", ["9", "(", "####", "answer is ", "\n", "½", "1 = ", "<answer>", "9 x ", "#### \n"])
def test_long_texts_take_linear_time(part: str) -> None:
    assert GRADER.grade([part * (500_000 // len(part))], ["42"])[0].score == 0.0
    assert len(read_answer(f"{part * 10_000}\n#### 5")) <= 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2^2", "-4"),
        ("2^-1", "1/2"),
        ("2^3^2", "512"),
        ("2(3 + 4)", "14"),
        ("6/2*3", "9"),
        ("-3 1/2", "-7/2"),
        ("10 000/2", "5000"),
        ("\\frac12", "1/2"),
        ("3 \\frac{1}{2}", "7/2"),
        ("0.1\\overline{6}", "1/6"),
        ("5!", "120"),
        ("42 43", None),
        ("21 (2)", None),
        ("1/2 84", None),
        ("100% 42", None),
        ("3 5/2", None),
        ("1/0", None),
        ("1/(2 - 2)", None),
        ("9^9^9", None),
        ("9999!", None),
        ("3!!", None),
        ("1,0000", None),
        ("(42", None),
        ("42)", None),
        ("2 *", None),
        ("", None),
        ("(" * 5000, None),
        ("__import__('os')", None),
    ],
)
def test_evaluate(text: str, value: str | None) -> None:
    assert evaluate(text) == (None if value is None else Fraction(value))


@pytest.mark.parametrize("text", ["\\sqrt{4}", "2^{1/2}", "x", "2 * pi"])
def test_what_is_no_arithmetic_of_fractions(text: str) -> None:
    with pytest.raises(NotRational):
        evaluate(text)
