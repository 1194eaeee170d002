r"""Mathematics: the last \boxed{...} against the gold answer, by math-verify in a worker process."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, ClassVar

from echorl.tasks.verify.base import AnswerGrader, Verdict, Written, refusal
from echorl.tasks.verify.latex import (
    FUNCTIONS,
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
from echorl.tasks.verify.reading import after_thinking, last_box, plain_characters

MAX_ANSWER_CHARS = 1000
"""A longer answer is a failure; math-verify doesn't see it. The longest gold of the benchmarks has 210 characters."""
UNREADABLE = "unreadable"

_LAYOUT = re.compile(r"(?<!\\)\\[,!;: ]|\\(?:left|right|displaystyle)(?![A-Za-z])|[$~]|\\[()\[\]]")
_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_SPACE = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9\s])")
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
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
"""A gold answer of which the letters are no factors."""


@dataclass(frozen=True)
class MathGrader(AnswerGrader):
    r"""A success is a last `\boxed{...}` that math-verify finds equal to the gold answer and no check finds different.

    Only what follows `</think>` counts, where there is one. Thinking that began and never ended has no answer, and
    neither has a text without a box that closes: the last number of prose need not be meant as its answer. Equal texts
    and rational numbers are judged at once, the rest by a worker.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one pair."""
    pool: Pool = field(default_factory=lambda: shared_pool("math_verify"), repr=False, compare=False)

    name: ClassVar[str] = "math"

    def read(self, text: str) -> str:
        return last_box(after_thinking(text)) or ""

    def answer(self, text: str) -> str:
        form = normal_form(self.read(text))
        value = exact_value(form)
        return str(value) if value is not None and value.denominator == 1 and "%" not in form else form

    def is_readable(self, gold: str) -> bool:
        return reading(gold) is not None

    def judge(self, answer: str, gold: str) -> Verdict | None:
        if refused := refusal(answer, max_chars=MAX_ANSWER_CHARS):
            return refused
        return Verdict(1.0) if normal_form(gold) == normal_form(answer) else judge_reading(answer, gold)

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        rows = [comparison(answer, gold) for answer, gold in pairs]
        return [outcome.verdict() for outcome in self.pool.call_each("math_equal", rows, timeout=self.timeout)]

    def write(self, gold: str) -> list[Written]:
        return [Written(f"\\boxed{{{gold}}}", _value(gold))]


def normal_form(answer: str) -> str:
    r"""The answer without layout: equal texts mean the same, unequal ones may too.

    >>> normal_form(r"\left( \dfrac{1}{2}, \text{ cm} \right)."), normal_form("$x + 1$")
    ('(\\frac{1}{2},cm)', 'x+1')
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return answer
    answer = plain_characters(answer).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    answer = _LAYOUT.sub(" ", _TEXT.sub(r" \1 ", answer))
    return _SPACE.sub("", answer.strip()).rstrip(".").strip()


def judge_reading(answer: str, gold: str) -> Verdict | None:
    """A verdict on two rational numbers, or on an answer without a reading; None where a worker has to look."""
    wanted = reading(gold)
    if wanted is None:
        return _judge_tokens(_tokens(gold), _tokens(answer))
    given = answer_reading(answer, wanted)
    if given is None:
        return Verdict(0.0, UNREADABLE)
    return _judge_rationals(wanted, given)


def _judge_rationals(gold: Tree, answer: Tree) -> Verdict | None:
    """None if one is not rational, or might be the other in decimals, rounded.

    50 % is 50 where a percentage was asked for, else 0.5.
    """
    percent = gold[0] == "pct", answer[0] == "pct"
    value = rational(gold[1] if percent[0] else gold)
    given = rational(answer[1] if percent[1] else answer)
    if value is None or given is None:
        return None
    if percent[0] != percent[1]:
        percentage, other = (value, given) if percent[0] else (given, value)
        return Verdict(float(other in (percentage, percentage / 100)))
    may_be_rounded = has_decimals(gold) != has_decimals(answer)
    return Verdict(1.0) if value == given else None if may_be_rounded else Verdict(0.0)


def comparison(answer: str, gold: str) -> tuple[Any, ...]:
    """Arguments of a worker's `math_equal`: both in LaTeX that math-verify reads as meant, and both trees."""
    wanted = reading(gold)
    given = None if wanted is None else answer_reading(answer, wanted)
    if wanted is None or given is None:
        return gold, answer
    if "text" in (wanted[0], given[0]) or (_NAME.fullmatch(gold) and words(given)):
        return tuple(f"\\text{{{words(tree) or n}}}" for n, tree in enumerate((wanted, given)))
    wanted, given = logarithms(without_approximation(wanted, None), given)
    wanted, given = without_plus_or_minus(wanted), without_plus_or_minus(given)
    names = symbol_names(wanted, given)
    compared = without_approximation(given, rational(wanted))
    return to_latex(wanted, names), to_latex(compared, names), wanted, given


@lru_cache(maxsize=4096)
def reading(answer: str, *, commas: bool = True) -> Tree | None:
    """The answer's tree; None if it has none. `commas`: whether one may stand between a number's thousands."""
    try:
        return read_tree(answer, commas=commas)
    except Unreadable:
        return None


def answer_reading(answer: str, gold: Tree) -> Tree | None:
    """The answer's tree, beside the gold one: a letter behind a number is a unit where the gold has no letters."""
    commas = gold[0] not in ("list", "seq", "cup")
    tree = reading(answer, commas=commas)
    if tree is not None and has_symbols(tree) and not has_symbols(gold):
        answer = _UNIT.sub("", answer.replace("\\mathrm", "\\text"))
        return reading(_WORDS.sub(r"\\text{ \1 }", answer), commas=commas)
    return tree


def exact_value(answer: str) -> Fraction | None:
    """The rational number that the answer is; None for anything else."""
    tree = reading(answer)
    return None if tree is None else rational(tree)


def _tokens(text: str) -> list[tuple[str, str]]:
    """The kinds and texts of its tokens, without braces around a single one."""
    tokens = [(token.kind, token.text) for token in tokenize(text)]
    found: list[tuple[str, str]] = []
    for token in tokens:
        if token == ("sign", "}") and found[-2:-1] == [("sign", "{")]:
            found[-2:] = found[-1:]
        else:
            found.append(token)
    return found


def _judge_tokens(gold: list[tuple[str, str]], answer: list[tuple[str, str]]) -> Verdict | None:
    """A verdict on a gold answer without a reading; None where the answer may be the same in another order."""
    if gold == answer:
        return Verdict(1.0)
    has_words = any(kind == "text" for kind, _ in gold + answer)
    folded = [sorted(text.casefold() for _, text in tokens) for tokens in (gold, answer)]
    return None if folded[0] == folded[1] and not has_words else Verdict(0.0)


def _value(gold: str) -> Hashable:
    """The number, if the gold is a rational one, else its text."""
    value = exact_value(gold)
    return normal_form(gold) if value is None else value
