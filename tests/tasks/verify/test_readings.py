r"""What the mathematics grader accepts and refuses beyond what math-verify does, by kind."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echorl.tasks.verify import GRADERS, tree_values
from echorl.tasks.verify.latex import Tree, read_tree, symbol_names, to_latex, without_plus_or_minus
from echorl.tasks.verify.mathematics import reading
from tests.tasks.verify import answer_pairs

GRADER = GRADERS["math"]

RIGHT = {
    "thousands": [
        *[
            ("10000", text)
            for text in ("10\\,000", "10 000", "10~000", "10{,}000", "10,000", "10,\\!000", "10\u202f000")
        ],
        ("1234567.5", "1\\,234\\,567.5"),
        ("58,500", "58500"),
        ("11,\\! 111,\\! 111,\\! 100", "11111111100"),
    ],
    "mixed numbers": [
        *[("\\frac{14}{3}", text) for text in ("4 2/3", "4\\frac{2}{3}", "4\\frac23", "4 ⅔", "4⅔", "4\\tfrac{2}{3}")],
        ("\\frac12", "½"),
        ("3.5", "3 1/2"),
        ("137 \\frac{1}{2}", "137.5"),
        ("-\\frac{5}{2}", "-2\\frac{1}{2}"),
    ],
    "letters": [
        ("E_{1}", "E_1"),
        ("E_{1},E_{2}", "E_1, E_2"),
        ("R-r", "-r+R"),
        ("\\frac{M}{m}", "M/m"),
        ("f(t)=2t", "2t"),
        ("\\lambda_{\\text {red}} / \\sqrt{2}", "\\frac{\\lambda_{red}}{\\sqrt2}"),
        ("\\varepsilon", "\\epsilon"),
    ],
    "Greek letters": [("(\\gamma-1)mc^2", "mc^2(\\gamma-1)"), ("\\beta(x+1)", "\\beta x+\\beta"), ("2πr", "2r\\pi")],
    "derivatives": [
        ("\\frac{dx}{dt}=kx-a", "\\frac{d x}{d t} = -a + k x"),
        ("y^{\\prime}+r y=0", "y'+ry=0"),
        ("m \\ddot{x}=f", "f = m\\ddot x"),
    ],
    "lists": [
        ("-2,-2", "-2, -2"),
        ("2,-1", "-1, 2"),
        ("1,2", "1 \\text{ and } 2"),
        ("1 \\pm \\sqrt{19}", "1-\\sqrt{19}, 1+\\sqrt{19}"),
        ("a=2, a=-6", "-6, 2"),
        ("\\{1\\pm\\sqrt{5},-2\\}", "\\{-2, 1+\\sqrt5, 1-\\sqrt5\\}"),
        ("(2,12) \\cup (12,102)", "(2, 12) ∪ (12, 102)"),
        ("x \\in [-2,7]", "[-2,7]"),
        ("k \\geqslant 2", "k \\ge 2"),
        ("\\begin{pmatrix} 1/5 \\\\ -18/5 \\end{pmatrix}", "\\begin{bmatrix} 0.2 \\\\ -3.6 \\end{bmatrix}"),
        ("27,54,108,135", "27, 54, 108, 135"),
    ],
    "complex numbers": [
        ("6-5i", "6-5\\,i"),
        ("2\\sqrt3 i", "2i\\sqrt3"),
        ("(1+i)^2", "2i"),
        ("2i", "(1+i)^2"),
        ("-2+7i", "7i - 2"),
        ("\\frac{1}{1+i}", "\\frac{1-i}{2}"),
    ],
    "signs outside ASCII": [
        *[("90", text) for text in ("90°", "90\\degree", "90^\\circ", "９０", "9\u200b0", "\u200e90")],
        ("\\sqrt{2}", "√2"),
        ("x^{2}+1", "x²+1"),
        ("(-\\infty, 2)", "(−∞, 2)"),
        ("-3", "–3"),
        ("-3", "−3"),
        ("1.6", "\\approx 1.6"),
        ("4.5e33", "4.5 x 10^{33}"),
        ("4.5e33", "4.5 × 10³³"),
        ("\\frac13", "0.\\overline{3}"),
        ("\\frac16", "0.1\\overline{6}"),
        ("\\emptyset", "\\varnothing"),
        ("42", "\\(42\\)"),
        ("x+1", "\\(x+1\\)"),
        ("73", "**73**"),
        ("x \\le 3", "x ≤ 3"),
    ],
    "words": [
        ("n\\cdot\\lfloor m/2\\rfloor", "n*floor(m/2)"),
        ("\\binom{2n}{n}", "binomial(2*n, n)"),
        ("\\omega+1", "1 + omega"),
        ("5000000", "5 \\text{ million}"),
        ("x=\\pi k, 2+\\pi k", "x = k\\pi, k\\pi+2"),
        ("4.5e33", "4.5e33."),
    ],
    "reference answers as they are": [
        ("-1./3", "-\\frac13"),
        ("-3./2", "-1.5"),
        ("62.5%", "62.5"),
        ("62.5%", "62.5\\%"),
        ("8 \\%", "0.08"),
        ("np.arcsin(10/13)", "\\arcsin(10/13)"),
        ("\\arcsin{1.3 \\sin{\\theta_w}}", "\\sin^{-1}(1.3\\sin\\theta_w)"),
        ("52_8", "52_{8}"),
        ("52_8", "52"),
        ("15\\mbox{ cm}^2", "15"),
        ("15", "15 \\text{ cm}^2"),
        ("15", "15 cm"),
        ("\\$18.90", "18.90"),
        ("\\text{(B)}", "B"),
        ("\\text{Evelyn}", "evelyn"),
        ("42", "x = 84/2 = 42"),
        ("42", "20 + 22 = 42"),
        ("\\frac13", "0.333333"),
        ("\\sqrt{2}", "1.414214"),
    ],
    "tiny and huge": [
        ("2.88e-19", "2.88\\times 10^{-19}"),
        ("2.88e-19", "0.288 \\cdot 10^{-18}"),
        ("1.325e-27", "1.325E-27"),
        ("2^{1009}", "2 \\cdot 2^{1008}"),
    ],
}
WRONG = {
    "tiny and huge": [
        ("2.88e-19", "5.76\\times 10^{-19}"),
        ("2.88e-19", "-2.88\\times 10^{-19}"),
        ("2.88e-19", "2.89\\times 10^{-19}"),
        ("1e-20", "0"),
        ("2^{1009}", "2^{1009}+1"),
        ("1.04e-3", "0.0010404"),
        ("10^{-20} x", "10^{-21} x"),
    ],
    "thousands": [
        ("0", "10\\,000"), ("0", "10 000"), ("0", "10~000"), ("10", "10 000"),
        ("69,84", "69,84{,}000"), ("(8,18)", "(8{,}000,18)"), ("10000", "10, 000"),
    ],
    "mixed numbers": [("2", "4 2/3"), ("\\frac83", "4 2/3"), ("\\frac32", "3½"), ("2", "3 1/2")],
    "bases": [("52_8", "52_9"), ("52_8", "53_8"), ("42", "42_8"), ("52_8", "42"), ("4210_{5}", "4210_{6}")],
    "letters": [
        ("R-r", "0"),
        ("\\frac{M}{m}", "1"),
        ("6m", "6"),
        ("f(t)=2t", "2"),
        ("\\frac13E_1+\\frac23E_2", "\\frac23"),
        ("\\frac13E_1+\\frac23E_2", "\\frac23E_1+\\frac13E_2"),
        ("N=n", "N=n+1"),
        ("2n", "2"),
        ("3R^2", "3r^2"),
        ("E_{1}", "E_{2}"),
        ("E_{1}", "E"),
        ("7.6 Z", "7.6"),
        ("\\frac{37}{4} m", "\\frac{37}{4}"),
        ("\\alpha", "a"),
        ("x'", "x"),
        ("I(0)", "I"),
        ("42", "42x"),
        ("x_{1}+x_{2}", "x_{1}+x_{3}"),
    ],
    "Greek letters": [("(\\gamma-1)mc^2", "(\\gamma-2)mc^2"), ("\\beta(x+1)", "\\beta(x+2)")],
    "derivatives": [
        ("\\frac{dx}{dt}=kx-a", "kx=a"),
        ("\\frac{dx}{dt}=kx-a", "0=kx-a"),
        ("y^{\\prime}+r y=0", "y+ry=0"),
        ("m \\ddot{x}=f", "m\\dot{x}=f"),
    ],
    "lists": [
        ("-2,-2", "-2"),
        ("-2", "-2,-2"),
        ("(-\\frac{1}{2}, \\frac{7}{2})", "2(-\\frac{1}{2}, \\frac{7}{2})"),
        ("15", "15 \\text{ hours and } 30 \\text{ minutes}"),
        ("15", "15 \\text{ h } 30 \\text{ min}"),
        ("1,2", "1"),
        ("1,2,2", "1,1,2"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("[1,2)", "[1,2]"),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}"),
        ("42", "42 \\pm 1"),
        ("42", "43, 42"),
        ("k \\geqslant 2", "k > 2"),
        ("k \\geqslant 2", "k \\le 2"),
    ],
    "complex numbers": [("6-5i", "6+5i"), ("2i", "(1-i)^2"), ("2\\sqrt3 i", "2\\sqrt3"), ("i", "-i")],
    "hedges": [
        ("42", text)
        for text in (
            "43 \\text{ or } 42", "\\text{not } 42", "43=42", "x \\ne 42", "\\ne 42", "x > 42", "42!", "42^2", "42 + 1",
            "42 \\text{ or } 43", "42 \\text{ if } n = 1", "\\text{between } 40 \\text{ and } 42", "42\\%1", "42 42",
            "\\text{at least } 42", "42 \\text{ (not 43)}", "x != 42", "42 \\text{ million}", "42 \\text{ cm}^2{,}000",
        )
    ],
    "signs outside ASCII": [("\\sqrt{2}", "√3"), ("x^{2}+1", "x³+1"), ("3", "–3"), ("\\frac13", "0.\\overline{4}")],
    "reference answers as they are": [
        ("-1./3", "\\frac13"),
        ("62.5%", "6.25"),
        ("8 \\%", "800\\%"),
        ("\\text{Evelyn}", "\\text{Angela}"),
        ("MR=SRMC", "MR=LRMC"),
        ("42", "forty"),
    ],
}  # fmt: skip


RIGHT |= {f"{kind} of models": pairs for kind, pairs in answer_pairs.RIGHT.items()}
WRONG |= {f"{kind} of models": pairs for kind, pairs in answer_pairs.WRONG.items()}


def cases(table: dict[str, list[tuple[str, str]]]) -> list[tuple[str, str, str]]:
    return [(kind, reference_answer, answer) for kind, pairs in table.items() for reference_answer, answer in pairs]


@pytest.fixture(scope="module")
def scores() -> dict[tuple[str, str], float]:
    pairs = [(reference_answer, answer) for table in (RIGHT, WRONG) for _, reference_answer, answer in cases(table)]
    verdicts = GRADER.grade(
        [f"\\boxed{{{answer}}}" for _, answer in pairs], [reference_answer for reference_answer, _ in pairs]
    )
    return {pair: verdict.score for pair, verdict in zip(pairs, verdicts, strict=True)}


def test_right_answers(scores: dict[tuple[str, str], float]) -> None:
    assert [case for case in cases(RIGHT) if scores[case[1:]] != 1.0] == []


def test_wrong_answers(scores: dict[tuple[str, str], float]) -> None:
    assert [case for case in cases(WRONG) if scores[case[1:]] != 0.0] == []


TREES = st.recursive(
    st.one_of(
        st.integers(0, 99).map(lambda n: ("num", str(n))),
        st.sampled_from(("x", "y", "E_{1}")).map(lambda name: ("sym", name)),
        st.just(("const", "pi")),
    ),
    lambda trees: st.one_of(
        st.tuples(st.just("+"), trees, trees),
        st.tuples(st.just("*"), trees, trees),
        st.tuples(st.just("neg"), trees),
        st.tuples(st.just("/"), trees, trees),
        st.tuples(st.just("^"), trees, st.integers(2, 3).map(lambda n: ("num", str(n)))),
        st.tuples(st.just("root"), st.just(("num", "3")), trees),
        st.tuples(st.just("fn"), st.sampled_from(("sin", "arctan", "cosh")), trees),
        st.tuples(st.just("abs"), trees),
        st.tuples(st.just("floor"), trees),
    ),
    max_leaves=8,
)
NAMES = {"x": "x_{0}", "y": "x_{1}", "E_{1}": "x_{2}"}


@given(TREES)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_what_is_printed_is_read_again(tree: Tree) -> None:
    """The reader agrees with the printer, which shares no code with it, on the value of every tree."""
    again = read_tree(to_latex(tree, NAMES))
    renamed = rename(tree)
    assert not tree_values.differ(renamed, again)
    assert tree_values.differ(("+", renamed, ("num", "1")), again) or not is_finite(renamed)


def rename(tree: Tree) -> Tree:
    if tree[0] == "sym":
        return ("sym", NAMES[tree[1]].replace("{", "").replace("}", ""))
    return tuple(rename(part) if isinstance(part, tuple) else part for part in tree)


def is_finite(tree: Tree) -> bool:
    """Whether it has a value that one more changes: it has none where it divides by 0."""
    try:
        values = [tree_values.evaluate(tree, point) for point in tree_values.points(tree)]
    except (tree_values.Unknown, ArithmeticError, ValueError):
        return False
    return all(abs(value) < 1e20 for value in values)


PIECES = [*r"\{}()[]$^_,.=+-!/|'% 0129xiIeU", "\\frac", "\\sqrt", "\\text{", "\\left", "\\begin{pmatrix}", "\\pm", "½"]


@given(st.lists(st.sampled_from(PIECES), max_size=80).map("".join))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_any_text_is_read_or_unreadable(text: str) -> None:
    tree = reading(text)
    if tree is not None:
        values = without_plus_or_minus(tree)
        assert isinstance(to_latex(values, symbol_names(values)), str)


@pytest.mark.parametrize(
    "unit", ["\\sqrt", "^2", "(", "-", "!", "'", "1,000,", "\\frac1", "|", "1 ", "\\pm1", "x_", "{"]
)
def test_long_texts_are_read_at_once(unit: str) -> None:
    start = time.process_time()
    reading(unit * (1000 // len(unit)))
    assert time.process_time() - start < 60  # of CPU time, which one that tries all ways to read it never has
