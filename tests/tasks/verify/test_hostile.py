"""Hostile answers, each between neighbours that need the pool: those are graded right, nothing hangs, nothing dies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echorl.tasks.verify import GRADERS, MathGrader, NumberGrader, Pool
from echorl.tasks.verify.choice import DIGITS, LETTERS, read_label
from echorl.tasks.verify.mathematics import normal_form
from echorl.tasks.verify.number import read_answer
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag
from tests.tasks.verify import hostile

TIMEOUT = 0.5
QUADRATIC = 120.0
"""Seconds of CPU time that a reader of the square of a megabyte would take a hundred times over, on any machine."""
TOWER = "\\boxed{9^{9^{9^9}}}"
MARKED = ("marked tower", "marked nesting", "marked control characters", "marked code", "marked empty")
PIECES = [*r"\{}()[]$^_,.=+-!/ 0129xiIe", "\n", "\\frac", "\\sqrt{", "\\boxed{", "</think>"]
LATEX = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    made = Pool("math_verify", num_workers=2, memory_limit=2**29)
    yield made
    made.close()


def neighbour(n: int) -> str:
    """A right answer that only math-verify sees to be right, another one for each n."""
    return f"\\boxed{{\\frac{{{1729 * (n + 2)}}}{{{n + 2}}}}}"


def one_of_each_kind() -> list[str]:
    kinds = dict(reversed(hostile.all_completions()))
    return list(kinds.values())


def test_the_corpus() -> None:
    texts = [text for _, text in hostile.all_completions()]
    assert len(set(texts)) == len(texts) >= 200


def test_neighbours_are_graded(pool: Pool) -> None:
    """One text of each kind here; `benchmarks.grading` does the same with all of them."""
    texts = [text for n, bad in enumerate([*one_of_each_kind(), TOWER]) for text in (bad, neighbour(n))]
    pool.call_each("math_equal", [("1", "x")] * 2, timeout=30)
    verdicts = MathGrader(timeout=TIMEOUT, pool=pool).grade(texts, [hostile.REFERENCE] * len(texts))
    assert [verdict.score for verdict in verdicts] == [0.0, 1.0] * (len(texts) // 2)
    assert "timeout" in {verdict.reason for verdict in verdicts}
    assert not Path("HACKED").exists()


def test_the_number_grader_under_the_same_texts(pool: Pool) -> None:
    texts = [text for kind, text in hostile.all_completions() if kind in MARKED]
    rows = [row for n, bad in enumerate(texts) for row in (bad, f"#### {1729 * (n + 2)}/{n + 2}")]
    verdicts = NumberGrader(timeout=TIMEOUT, pool=pool).grade(rows, [hostile.REFERENCE] * len(rows))
    assert [verdict.score for verdict in verdicts] == [0.0, 1.0] * len(texts)


def test_letters_take_linear_time() -> None:
    texts = [text for _, text in hostile.all_completions()]
    start = time.process_time()
    verdicts = GRADERS["choice"].grade(texts, ["J"] * len(texts))
    assert time.process_time() - start < QUADRATIC
    assert {verdict.score for verdict in verdicts} == {0.0}


@pytest.mark.parametrize("grader", ["math", "choice", "number", "geometry"])
@pytest.mark.parametrize(
    "unit", ["\\boxed{", "}", "answer is ", "<answer>", "</think>", "#### ", " ", "(", "$", "\\", "A"]
)
def test_a_megabyte_of_anything_is_read_at_once(grader: str, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    GRADERS[grader].answer(text)
    assert time.process_time() - start < QUADRATIC


@given(st.one_of(st.text(), LATEX))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_readers_take_any_text(text: str) -> None:
    assert all(read_label(text, labels) in ("", *labels.upper) for labels in (LETTERS, DIGITS))
    assert last_box(f"{text}\\boxed{{7}}") == "7"
    assert after_thinking(f"{text}</think>8") == "8"
    assert last_tag(f"{text}<answer> 9 </answer>") == "9"
    assert read_answer(f"{text}####5") == "5"
    for grader in ("math", "geometry", "number"):
        assert isinstance(GRADERS[grader].answer(text), str)


@given(LATEX)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_normal_forms_are_final(text: str) -> None:
    """Else equal answers could differ."""
    once = normal_form(text)
    assert normal_form(once) == once


@given(st.lists(LATEX, min_size=1, max_size=8))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_any_latex_under_the_pool(pool: Pool, answers: list[str]) -> None:
    texts = [text for n, bad in enumerate(answers) for text in (f"\\boxed{{{bad}}}", neighbour(n))]
    verdicts = MathGrader(timeout=TIMEOUT, pool=pool).grade(texts, [hostile.REFERENCE] * len(texts))
    assert [verdict.score for verdict in verdicts[1::2]] == [1.0] * len(answers)
    assert all(verdict.score in (0.0, 1.0) for verdict in verdicts)
