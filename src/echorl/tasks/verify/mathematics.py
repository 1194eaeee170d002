r"""Grader of mathematics: compares the last \boxed{...} with the reference answer, by math-verify in a worker."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from echorl.tasks.verify.base import Form, Grader, Verdict, refusal
from echorl.tasks.verify.latex import (
    FUNCTIONS,
    Token,
    Tree,
    Unreadable,
    has_decimals,
    has_symbols,
    logarithms,
    rational,
    read_tree,
    symbol_names,
    to_latex,
    tokenize,
    without_approximation,
    without_plus_or_minus,
    words,
)
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.reading import Replacements, after_thinking, last_box, plain_characters, replace_all

MAX_ANSWER_CHARS = 1000
"""A longer answer is a failure and is not parsed. The longest reference answer of the benchmarks has 210 characters."""
UNREADABLE = "unreadable"

_LAYOUT: Replacements = (
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"(?<!\\)\\[,!;: ]|\\(?:left|right|displaystyle)(?![A-Za-z])|[$~]|\\[()\[\]]"), " "),
)
_SPACE = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9\s])")
_SPACING = r"(?:\s|~|\\[,;:! ])"
_UNIT = re.compile(
    rf"(?<=[0-9}}).]){_SPACING}*"
    r"(?:m|cm|mm|km|ft|in|g|kg|mg|s|sec|min|h|hr|N|J|kJ|W|kW|V|A|Hz|Pa|K|mol|L|l|mL|eV|inch|inches|foot|"
    r"feet|yards?|miles?|met(?:er|re)s?|lit(?:er|re)s?|grams?|pounds?|seconds?|minutes?|hours?|days?|weeks?|months?|"
    r"years?|units?|cents?|dollars?|degrees?|points?|people|students?|ways|mph|square\s[a-z]{2,12}|cubic\s[a-z]{2,12}"
    r"|\\Omega|\\mu\s*[mgsAVFCL]|(?:°|\^\s*\{?\s*\\circ\s*\}?)\s*[CF])"
    r"(?:\s*\^\s*\{?-?[1-3]\}?|/(?:s|h|hr|min|m|kg|mol|L)(?:\^\{?[1-3]\}?)?)?\s*\.?\s*$"
)
_WORDS = re.compile(
    rf"(?<=[0-9}}).]){_SPACING}+(?!(?:{'|'.join(sorted(FUNCTIONS))})\b)"
    r"([A-Za-z]{3,20}(?: [A-Za-z]{2,20}){0,5})\s*$"
)
"""Words behind a number, outside of `\\text{}`."""
_NAME = re.compile(r"[A-Z][a-z]{3,}")
"""A reference answer that is a name, so that its letters are not factors."""


@dataclass(frozen=True)
class MathGrader(Grader):
    r"""Grader of mathematics. A success is a last `\boxed{...}` that is equal to the reference answer.

    math-verify has to find both equal, and the check of their trees must not find them different. Text before
    `</think>` is not read. A completion that never ends its thinking has no answer. A text without a closed box has no
    answer either, since the last number of prose may not be meant as the answer. Equal texts and rational numbers are
    compared at once, all others by a worker.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one pair."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "math"

    def read(self, text: str) -> str:
        """The content of the last box; "" if there is none."""
        return last_box(after_thinking(text)) or ""

    def answer(self, text: str) -> str:
        """The answer without layout, a whole number in digits."""
        form = normal_form(self.read(text))
        value = exact_value(form)
        return str(value) if value is not None and value.denominator == 1 and "%" not in form else form

    def is_readable(self, reference: str) -> bool:
        """Return whether the reference answer has a tree."""
        return reading(reference) is not None

    def judge(self, answer: str, reference: str) -> Verdict | None:
        """Score of equal texts, of rational numbers and of unreadable answers; None for all others."""
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        return Verdict(1.0) if normal_form(reference) == normal_form(answer) else judge_reading(answer, reference)

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of math-verify and of the check of trees."""
        rows = [comparison(answer, reference) for answer, reference in pairs]
        return [outcome.verdict() for outcome in self.pool.call_each("math_equal", rows, timeout=self.timeout)]

    def forms(self, reference: str) -> list[Form]:
        """The reference answer in a box."""
        return [Form(f"\\boxed{{{reference}}}", _value(reference))]


def normal_form(answer: str) -> str:
    r"""The answer without layout. Equal results mean the same. Different results may mean the same, too.

    >>> normal_form(r"\left( \dfrac{1}{2}, \text{ cm} \right)."), normal_form("$x + 1$")
    ('(\\frac{1}{2},cm)', 'x+1')
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return answer
    answer = replace_all(plain_characters(answer), _LAYOUT)
    return _SPACE.sub("", answer.strip()).rstrip(".").strip()


def judge_reading(answer: str, reference: str) -> Verdict | None:
    """A verdict on two rational numbers, or on an answer without a tree; None where a worker has to compare."""
    reference_tree = reading(reference)
    if reference_tree is None:
        return _judge_tokens(_tokens(reference), _tokens(answer))
    answer_tree = answer_reading(answer, reference_tree)
    if answer_tree is None:
        return Verdict(0.0, UNREADABLE)
    return _judge_rationals(reference_tree, answer_tree)


def _judge_rationals(reference: Tree, answer: Tree) -> Verdict | None:
    """A verdict; None if one of both is not rational, or may be the other one rounded to decimals.

    50 % counts as 50 and as 0.5, since the question may ask for a percentage.
    """
    percent = reference[0] == "pct", answer[0] == "pct"
    value = rational(reference[1] if percent[0] else reference)
    answer_value = rational(answer[1] if percent[1] else answer)
    if value is None or answer_value is None:
        return None
    if percent[0] != percent[1]:
        percentage, number = (value, answer_value) if percent[0] else (answer_value, value)
        return Verdict(float(number in (percentage, percentage / 100)))
    may_be_rounded = has_decimals(reference) != has_decimals(answer)
    return Verdict(1.0) if value == answer_value else None if may_be_rounded else Verdict(0.0)


def comparison(answer: str, reference: str) -> tuple[Any, ...]:
    """Arguments of a worker's `math_equal`: both in LaTeX that math-verify reads as it is meant, and both trees."""
    expected = reading(reference)
    tree = None if expected is None else answer_reading(answer, expected)
    if expected is None or tree is None:
        return reference, answer
    if "text" in (expected[0], tree[0]) or (_NAME.fullmatch(reference) and words(tree)):
        return tuple(f"\\text{{{words(side) or n}}}" for n, side in enumerate((expected, tree)))
    expected, tree = map(without_plus_or_minus, logarithms(without_approximation(expected, None), tree))
    names = symbol_names(expected, tree)
    compared = without_approximation(tree, rational(expected))
    return to_latex(expected, names), to_latex(compared, names), expected, tree


@lru_cache(maxsize=4096)
def reading(answer: str, *, commas: bool = True) -> Tree | None:
    """The answer's tree; None if it has none. `commas`: whether a comma may stand between a number's thousands."""
    try:
        return read_tree(answer, commas=commas)
    except Unreadable:
        return None


def answer_reading(answer: str, reference: Tree) -> Tree | None:
    """The answer's tree. A letter behind a number is read as a unit where the reference has no letters."""
    commas = reference[0] not in ("list", "seq", "cup")
    tree = reading(answer, commas=commas)
    if tree is not None and has_symbols(tree) and not has_symbols(reference):
        answer = _UNIT.sub("", answer.replace("\\mathrm", "\\text"))
        return reading(_WORDS.sub(r"\\text{ \1 }", answer), commas=commas)
    return tree


def exact_value(answer: str) -> Fraction | None:
    """The rational number that the answer is; None for anything else."""
    tree = reading(answer)
    return None if tree is None else rational(tree)


def _tokens(text: str) -> list[Token]:
    """The text's tokens, without braces around a single token."""
    tokens: list[Token] = []
    for token in tokenize(text):
        if token == ("sign", "}") and tokens[-2:-1] == [("sign", "{")]:
            tokens[-2:] = tokens[-1:]
        else:
            tokens.append(token)
    return tokens


def _judge_tokens(reference: list[Token], answer: list[Token]) -> Verdict | None:
    """A verdict on a reference answer without a tree; None where the answer may be the same in another order."""
    if reference == answer:
        return Verdict(1.0)
    has_words = any(kind == "text" for kind, _ in reference + answer)
    folded = [sorted(text.casefold() for _, text in tokens) for tokens in (reference, answer)]
    return None if folded[0] == folded[1] and not has_words else Verdict(0.0)


def _value(reference: str) -> Hashable:
    """The exact value of a rational reference answer, else its text without layout."""
    value = exact_value(reference)
    return normal_form(reference) if value is None else value
