r"""Multiple choice: the label that a completion settles on. Pure Python, never read as mathematics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from echorl.tasks.verify.base import NO_ANSWER, AnswerGrader, Verdict, Written
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag, plain_characters

WINDOW = 120
"""Characters looked at behind "answer is"; a longer gap is another sentence."""

MAX_STATEMENTS = 200
"""How many places with the word "answer" are looked at, from the end."""

_MARKUP = re.compile(
    r"\\(?:(?:text|math)[a-z]{0,6}|mbox|boldsymbol|rm|bf|left|right|large|Large|q?quad)(?![A-Za-z])|\\[,;:!]|[{}]"
)
_OPERATOR = re.compile(r"\\(?:lor|vee|land|wedge|cup|cap|oplus|pm|neg|lnot)(?![A-Za-z])")
_WRAPPING = re.compile(r"(?:[\s$*_(\[\"'`]|\\[(\[ ])*")
_NOUN = re.compile(rf"(?:(?:option|choice|letter)\b[\s:]*)?{_WRAPPING.pattern}", re.IGNORECASE)
_END = re.compile(
    r"\s*(?:$|\\?[()\[\]]|[.:,;!]|--?\s|\\)|[$*_\"'`]"
    r"|(?<![AaIi])\s+[$*_\"'`](?![0-9])"  # an A in front of a quoted or priced noun is an article
    r"|\s+[$*_\"'`](?![\w$*_])"
    r"|(?<!a)[^\S\n]*\n"
    r"|\s+(?:because|since|as|which|due|based|given|from|for|with|and|or)\b"
)
_ALONE = re.compile(r"[).:]|[\s*_$\"'`)\]\\]*$")
_ANSWER = re.compile(r"\b(?:answer|option|choice)\b|答案", re.IGNORECASE)
_LEAD = re.compile(
    r"[\s*_\"'`)\]}]*(?:(?:to|of)\s+(?:the|this)\s+(?:question|problem)\s+)?"
    r"(?:(?:is|should\s+be|would\s+be|must\s+be|will\s+be)\b|[:=是为為]|\s--?\s|-+>|\\to\b)[\s:>*_]*"
    r"(?:(?:the\s+)?(?:option|choice|letter|answer)\b)?[\s:]*",
    re.IGNORECASE,
)
_JOINED = (  # what stands between two labels of one answer
    r"[ \t$*_()\[\].:\\-]*(?:[,;/&|+]|(?:and|or|nor|versus|vs|maybe|perhaps|possibly)\b)[\s$*_()\[\]/\\]*"
    r"(?:(?:maybe|perhaps|possibly|probably|also|else|even|both|either|option|choice|letter|the|and|or)\b[\s(*]*){0,4}"
)


class Labels:
    """One kind of label: `upper` as it stands anywhere, `any_case` as it stands where an answer is stated."""

    def __init__(self, upper: str, any_case: str) -> None:
        whole = r"(?![A-Za-z0-9'’]|[.,/^%][0-9])"
        label, end = (
            f"[{any_case}]{whole}",
            r"(?=\s*(?:$|[)\].,;:$*/&?!|]|(?:and|or|nor|are|only|both|alone|together)\b))",
        )
        self.upper = upper
        self.first = re.compile(f"([{any_case}]){whole}")
        self.second = re.compile(
            rf"{_JOINED}(?:{label}{end}|(?<=or )[{upper}]{whole}(?!(?<=I) [a-z])|[IVX]{{2,}}\b)"  # also Roman numerals
            # side by side: not where the second one begins the text of the first, as in "F. (C) is larger"
            rf"|[ \t$*_()\[\].:\\-]+{label}[)\]]*(?=\s*(?:$|[.,;:$*/&]|\(?[{upper}]{whole}))"
        )
        self.right = re.compile(
            rf"(?<![A-Za-z0-9'’])([{upper}])[)\]*]{{0,4}}\s{{1,3}}is\s{{1,3}}(?:the\s{{1,3}})?(?:correct|right|best)\b"
        )


LETTERS = Labels("ABCDEFGHIJ", "A-Ja-j")
DIGITS = Labels("123456789", "1-9")


@dataclass(frozen=True)
class ChoiceGrader(AnswerGrader):
    r"""A success is the gold label: a letter from A to J; or a digit, which a few questions of ARC have.

    It stands in the last `\boxed{...}`, else in the last `<answer>...</answer>`, else in the last "answer is ...",
    "answer: ..." or "... is correct", else alone, or as "C." or "(C)", at the start of the last non-empty line. Two
    labels are no answer; neither is a word or a sentence that starts with a letter ("I think"). Only what follows
    `</think>` counts, as for mathematics.
    """

    name: ClassVar[str] = "choice"

    def read(self, text: str) -> str:
        return read_label(text) or read_label(text, DIGITS)

    def gold(self, value: Any) -> str:
        gold = super().gold(value)
        if label := leading_label(gold) or leading_label(gold, DIGITS):
            return label
        raise ValueError(f"{gold[:80]!r} holds no single label; write a letter from A to J, or a digit from 1 to 9")

    def judge(self, answer: str, gold: str) -> Verdict:
        return Verdict(float(answer == gold)) if answer else Verdict(0.0, NO_ANSWER)

    def _judge_all(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        kinds = [DIGITS if gold.isdigit() else LETTERS for gold in golds]
        return [self.judge(read_label(text, kind), gold) for text, kind, gold in zip(texts, kinds, golds, strict=True)]

    def write(self, gold: str) -> list[Written]:
        return [Written(f"The answer is {gold}.", self.gold(gold))]


def read_label(text: str, labels: Labels = LETTERS) -> str:
    r"""The label, as `ChoiceGrader` describes; "" if there is none.

    >>> read_label(r"\boxed{C) Mars}"), read_label("The answer is I."), read_label("I think it is Mars.")
    ('C', 'I', '')
    """
    text = _plain(after_thinking(text))
    for place in (last_box(text), last_tag(text)):
        if place and (label := leading_label(place, labels) or stated_label(place, labels)):
            return label
    return stated_label(text, labels) or _last_line_label(text, labels)


def leading_label(text: str, labels: Labels = LETTERS) -> str:
    r"""The one label that a text starts with: "C", "(C) Mars", "\text{Option C}"; "" for a word or for two labels."""
    text = _MARKUP.sub(" ", _OPERATOR.sub(" or ", _plain(text[:WINDOW])))
    found = labels.first.match(text, _end_of(_NOUN, text, _end_of(_WRAPPING, text)))
    if not found or not _END.match(text, found.end()) or labels.second.match(text, found.end()):
        return ""
    return found[1].upper()


def _end_of(pattern: re.Pattern[str], text: str, start: int = 0) -> int:
    """Where the pattern ends that begins at `start`; `start` itself where it does not match."""
    found = pattern.match(text, start)
    return found.end() if found else start


def _plain(text: str) -> str:
    """The text in plain characters, a long dash as one between spaces."""
    return plain_characters(re.sub("[–—]", " - ", text))


def stated_label(text: str, labels: Labels = LETTERS) -> str:
    """The label of the last statement of an answer."""
    stated = [(found.start(), found[1]) for found in labels.right.finditer(text)]
    for found in reversed(list(_ANSWER.finditer(text))[-MAX_STATEMENTS:]):
        lead = _LEAD.match(text, found.end(), found.end() + WINDOW)
        if lead and (label := leading_label(text[lead.end() : lead.end() + WINDOW], labels)):
            stated.append((found.start(), label))
            break
    return max(stated, default=(0, ""))[1]


def _last_line_label(text: str, labels: Labels) -> str:
    line = _MARKUP.sub(" ", text.rstrip().rpartition("\n")[2][:WINDOW])
    found = labels.first.match(line, _end_of(_WRAPPING, line))
    return leading_label(line, labels) if found and found[1] in labels.upper and _ALONE.match(line, found.end()) else ""
