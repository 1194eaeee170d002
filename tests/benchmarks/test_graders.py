"""The benchmark of graders: the forms mean the same, the mutations don't, and any grader can be measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import pytest

from benchmarks.graders import __main__ as command
from benchmarks.graders import hedges
from benchmarks.graders.columns import Function, ours
from benchmarks.graders.forms import FORMS, forms_of, in_box
from benchmarks.graders.latex import Unreadable, plain
from benchmarks.graders.reference_answers import ReferenceAnswer, built_in
from benchmarks.graders.table import errors_of, rows_of, text_of_errors, text_of_rows
from benchmarks.graders.values import far_apart, may_equal
from benchmarks.graders.wrong import FAMILIES, Case, mutated, wrong_answers

HERE = "tests.benchmarks.graders"


@pytest.fixture(scope="module")
def wrong() -> list[Case]:
    return wrong_answers(built_in(), [0, 1])


def forms(reference_answer: str, kind: str = "math") -> dict[str, str]:
    return dict(forms_of(ReferenceAnswer(kind, reference_answer)))


@pytest.mark.parametrize(
    ("reference_answer", "form", "answer"),
    [
        ("10000", "thousands \\,", "10\\,000"),
        ("\\frac{14}{3}", "mixed number, plain", "4 2/3"),
        ("-\\frac{5}{8}", "decimal of a fraction", "-0.625"),
        ("\\frac{1}{3}", "repeating decimal", "0.\\overline{3}"),
        ("2\\sqrt3 i", "order of factors", "i \\sqrt{3} \\cdot 2"),
        ("\\frac{n(n+1)}{2}", "order of terms", "\\frac{n (1+n)}{2}"),
        ("45^\\circ", "degree °", "45°"),
        ("E_{1}", "no braces", "E_1"),
        ("2.5e-19", "power of ten \\times", "2.5 \\times 10^{-19}"),
        ("\\text{east}", "word, bare", "east"),
        ("x^2-5x+6", "powers of Unicode", "x²-5x+6"),
        ("7", "x =", "x = 7"),
    ],
)
def test_forms(reference_answer: str, form: str, answer: str) -> None:
    assert forms(reference_answer)[form] == in_box(answer)


def test_no_form_that_may_mean_something_else() -> None:
    assert "x =" not in forms("2k")
    assert "thousands ," not in forms("1,3,9")
    assert "sympy's text" not in forms("3-4i")
    assert "decimal of a fraction" not in forms("\\frac{1}{3}")


def test_every_form_applies_to_a_built_in_reference_answer() -> None:
    applied = {name for reference_answer in built_in() for name, _ in forms_of(reference_answer)}
    assert set(FORMS) <= applied


@pytest.mark.parametrize(
    ("text", "other", "equal"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("2.88e-19", "5.76e-19", False),
        ("R-r", "r-R", False),
        ("(a+5)(b-2)", "ab-2a+5b-10", True),
        ("y=2x", "2y=4x", True),
        ("1,2", "2,1", True),
        ("(1,2)", "(2,1)", False),
        ("\\frac{dx}{dt}=kx", "x=kx", False),
        ("52_8", "42", True),
        ("(0,1]", "(0,1)", False),
    ],
)
def test_the_reader_compares(text: str, other: str, equal: bool) -> None:
    assert may_equal(plain(text), plain(other)) == equal


@pytest.mark.parametrize("text", ["1 2", "a/b c", "\\foo", "(1", "np.arcsin(1)", ""])
def test_the_reader_refuses_what_it_is_not_sure_of(text: str) -> None:
    with pytest.raises(Unreadable):
        may_equal(text, text)


def test_groups_of_thousands_and_lists() -> None:
    texts = ("11,\\! 111,\\! 111,\\! 100", "58,500", "10{,}000", "\\$32,\\!348", "$1$,$200$", "3,400,5")
    assert [plain(text) for text in texts] == ["11111111100", "58500", "10000", "32348", "1, 200", "3,400,5"]


def test_decimals_differ_by_more_than_their_rounding() -> None:
    assert not far_apart("4.03188", "4.03189")
    assert far_apart("4.03188", "4.13188")
    assert far_apart("10000000001", "10000000002")


def test_same_seed_same_answers(wrong: list[Case]) -> None:
    assert wrong_answers(built_in(), [0, 1]) == wrong
    assert wrong_answers(built_in(), [2]) != wrong_answers(built_in(), [0])


def test_every_mutation_occurs(wrong: list[Case]) -> None:
    found = {(case.family, case.kind) for case in wrong}
    mutations = {(family, name) for family, names in FAMILIES.items() for name in names}
    tables = (hedges.MATHEMATICS, hedges.NUMBERS_IN_MATHEMATICS, hedges.NUMBERS, hedges.CHOICES, hedges.LETTER_A)
    assert mutations | {("hedges", name) for table in tables for name in table} <= found


def test_arbitrary_constants_and_units_are_left_alone() -> None:
    from random import Random

    mutations = [(name, mutation) for names in FAMILIES.values() for name, mutation in names.items()]
    for reference_answer in ("e^{t}+C e^{-2 t}", "1 \\pm \\sqrt{19}"):
        assert not any(
            mutated(Random(seed), reference_answer, *mutation) for seed in range(5) for mutation in mutations
        )
    exponent = FAMILIES["numbers"]["exponent changed"]
    assert mutated(Random(0), "15\\text{ cm}^2", "exponent changed", exponent) is None


def cases_of(*reference_answers: str) -> list[Case]:
    return [
        Case("math", "forms", name, reference_answer, text, True)
        for reference_answer in reference_answers
        for name, text in forms(reference_answer).items()
    ]


def test_equality_of_texts_loses_forms_and_always_1_accepts_everything_wrong(wrong: list[Case]) -> None:
    right = cases_of("42", "\\frac{14}{3}")
    lost = [outcome.accepted for outcome in Function(f"{HERE}:equal", workers=1)(right)]
    assert lost[0]
    assert not all(lost)
    cases = wrong[::20]
    assert all(outcome.accepted for outcome in Function(f"{HERE}:always", workers=1)(cases))


def test_time_outs_and_exceptions_are_counted() -> None:
    cases = [
        Case("math", "forms", "plain", reference_answer, reference_answer, True)
        for reference_answer in ("1", "-7", "2")
    ]
    slow = Function(f"{HERE}:slow_on_seven", timeout=3.0, workers=1)(cases)
    raising = Function(f"{HERE}:raises", workers=1)(cases)
    assert [outcome.note for outcome in slow] == ["", "timeout", ""]
    (row,) = rows_of(cases, {"slow": slow, "raising": raising})
    assert (row["slow"], row["slow timeouts"], row["raising"], row["raising errors"]) == (2, 1, 0, 3)
    assert "1 timeouts" in text_of_rows([row], ["slow"])
    assert "KeyError" in text_of_errors(list(errors_of(cases, raising)), show=1)


def test_what_a_grader_prints_is_no_score() -> None:
    assert Function(f"{HERE}:prints", workers=1)([Case("math", "forms", "plain", "1", "1", True)])[0].accepted


def test_ours_without_the_shortcut() -> None:
    outcomes = ours([*cases_of("42"), Case("number", "numbers", "off by one", "3", "#### 4", False)])
    assert outcomes[0].accepted
    assert not outcomes[-1].accepted


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["graders", *arguments])
    command.main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere_at_all:grade"], "the module 'nowhere_at_all' of the grader cannot be imported"),
        ([f"{HERE}:missing"], "has no function 'missing'"),
        ([f"{HERE}:no_function"], "has no function 'no_function'"),
        ([HERE], "is not of the form module:function"),
        ([f"{HERE}:text"], "returned 'right' for the reference answer 'A': it has to return a number"),
        (["--data", "/nowhere"], "--data /nowhere has no benchmarks/math_suite.parquet"),
        (["--seeds", "5"], "--seeds 5 is not of the form FIRST..LAST"),
    ],
)
def test_errors(monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str], message: str) -> None:
    with pytest.raises(SystemExit, match="error: ") as raised:
        run(monkeypatch, *arguments, "--kinds", "choice", *([] if "--seeds" in arguments else ["--seeds", "0..1"]))
    assert message in str(raised.value)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    file = tmp_path / "errors.jsonl"
    run(monkeypatch, f"{HERE}:always", "--kinds", "choice", "--seeds", "0..1", "--show", "1", "--errors", str(file))
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert "built-in list" in printed
    assert f"errs on {len(rows)} of" in printed
    assert {row["right_score"] for row in rows} == {0.0}
