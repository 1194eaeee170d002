r"""Grader of multiple choice: reads the label that a completion answers with, without reading mathematics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from echorl.tasks.verify.base import NO_ANSWER, Form, Grader, Verdict
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag, plain_characters

WINDOW = 120
"""Characters looked at behind "answer is"; a longer gap is another sentence."""

MAX_STATEMENTS = 200
"""Number of places with the word "answer" that are looked at, from the end."""

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
_JOINED = (  # between two labels of one answer
    r"[ \t$*_()\[\].:\\-]*(?:[,;/&|+]|(?:and|or|nor|versus|vs|maybe|perhaps|possibly)\b)[\s$*_()\[\]/\\]*"
    r"(?:(?:maybe|perhaps|possibly|probably|also|else|even|both|either|option|choice|letter|the|and|or)\b[\s(*]*){0,4}"
)


class Labels:
    """Patterns of one kind of label: `upper` for any place, `any_case` for a place where an answer is stated."""

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
            # side by side, unless the second one begins the text of the first, as in "F. (C) is larger"
            rf"|[ \t$*_()\[\].:\\-]+{label}[)\]]*(?=\s*(?:$|[.,;:$*/&]|\(?[{upper}]{whole}))"
        )
        self.right = re.compile(
            rf"(?<![A-Za-z0-9'’])([{upper}])[)\]*]{{0,4}}\s{{1,3}}is\s{{1,3}}(?:the\s{{1,3}})?(?:correct|right|best)\b"
        )


LETTERS = Labels("ABCDEFGHIJ", "A-Ja-j")
DIGITS = Labels("123456789", "1-9")


@dataclass(frozen=True)
class ChoiceGrader(Grader):
    r"""Grader of multiple choice. A success is the label of the reference answer: a letter from A to J, or a digit.

    The label is read from the last `\boxed{...}`, else from the last `<answer>...</answer>`, else from the last "answer
    is ...", "answer: ..." or "... is correct". Else it stands alone, or as "C." or "(C)", at the start of the last
    non-empty line. Two labels are not an answer, nor is a word or a sentence that starts with a letter ("I think").
    Text before `</think>` is not read, as for mathematics. A few questions of ARC have digits as labels.
    """

    name: ClassVar[str] = "choice"

    def read(self, text: str) -> str:
        """The label in the completion; "" if there is none."""
        return read_label(text) or read_label(text, DIGITS)

    def read_reference(self, value: Any) -> str:
        """The label of the reference answer; ValueError if it has none or two."""
        reference = super().read_reference(value)
        if label := leading_label(reference) or leading_label(reference, DIGITS):
            return label
        raise ValueError(
            f"{reference[:80]!r} does not hold a single label; write a letter from A to J, or a digit from 1 to 9"
        )

    def judge(self, answer: str, reference: str) -> Verdict:
        """Score of the label, which needs no worker."""
        return Verdict(float(answer == reference)) if answer else Verdict(0.0, NO_ANSWER)

    def _judge_all(self, texts: Sequence[str], references: Sequence[str]) -> list[Verdict]:
        kinds = [DIGITS if reference.isdigit() else LETTERS for reference in references]
        return [
            self.judge(read_label(text, kind), reference)
            for text, kind, reference in zip(texts, kinds, references, strict=True)
        ]

    def forms(self, reference: str) -> list[Form]:
        """The label in a sentence."""
        return [Form(f"The answer is {reference}.", self.read_reference(reference))]


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
    r"""The label at the start of a text: "C", "(C) Mars", "\text{Option C}"; "" for a word or for two labels."""
    text = _MARKUP.sub(" ", _OPERATOR.sub(" or ", _plain(text[:WINDOW])))
    label = labels.first.match(text, _end_of(_NOUN, text, _end_of(_WRAPPING, text)))
    if not label or not _END.match(text, label.end()) or labels.second.match(text, label.end()):
        return ""
    return label[1].upper()


def _end_of(pattern: re.Pattern[str], text: str, start: int = 0) -> int:
    """End of the pattern's match at `start`; `start` itself if the pattern does not match there."""
    match = pattern.match(text, start)
    return match.end() if match else start


def _plain(text: str) -> str:
    """The text in plain characters, each long dash as a hyphen between spaces."""
    return plain_characters(re.sub("[–—]", " - ", text))


def stated_label(text: str, labels: Labels = LETTERS) -> str:
    """The label of the last statement of an answer."""
    stated = [(match.start(), match[1]) for match in labels.right.finditer(text)]
    for noun in reversed(list(_ANSWER.finditer(text))[-MAX_STATEMENTS:]):
        lead = _LEAD.match(text, noun.end(), noun.end() + WINDOW)
        if lead and (label := leading_label(text[lead.end() : lead.end() + WINDOW], labels)):
            stated.append((noun.start(), label))
            break
    return max(stated, default=(0, ""))[1]


def _last_line_label(text: str, labels: Labels) -> str:
    line = _MARKUP.sub(" ", text.rstrip().rpartition("\n")[2][:WINDOW])
    label = labels.first.match(line, _end_of(_WRAPPING, line))
    is_answer = label and label[1] in labels.upper and _ALONE.match(line, label.end())
    return leading_label(line, labels) if is_answer else ""
