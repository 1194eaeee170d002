r"""Multiple choice: the letter that a completion settles on. Pure Python, never read as mathematics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from echorl.tasks.verify.base import NO_ANSWER, AnswerGrader, Verdict, Written
from echorl.tasks.verify.reading import after_thinking, last_box, last_tag

LETTERS = "ABCDEFGHIJ"
WINDOW = 120
"""Characters looked at behind "answer is"; a longer gap is another sentence."""

_MARKUP = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathsf|rm|bf|boxed)(?![A-Za-z])|[{}]")
_WRAPPING = re.compile(r"(?:[\s$*_(\[\"'`]|\\[(\[])*")
_LETTER = re.compile(r"([A-Ja-j])(?![A-Za-z0-9'’])")
_END = re.compile(
    r"\s*(?:$|\\?[()\[\]]|[.:,;$*_\"'`!?]|--?\s|[–—]|\\)"
    r"|\s+(?:because|since|as|which|due|based|given|from|for|with|and|or)\b"
)
_SECOND = re.compile(
    r"[\s$*_()\[\].,;:/&|\\+-]*(?:(?:and|or)\b[\s(*]*)?[A-Ja-j](?![A-Za-z0-9'’])(?=\s*(?:$|[)\].,;:$*/&]))"
)
_ANSWER = re.compile(r"\b(?:answer|option|choice)\b", re.IGNORECASE)
_LEAD = re.compile(
    r"[\s*_\"'`)\]}]*(?:(?:to|of)\s+(?:the|this)\s+(?:question|problem)\s+)?"
    r"(?:(?:is|should\s+be|would\s+be|must\s+be|will\s+be)\b|[:=])[\s:*_]*"
    r"(?:(?:the\s+)?(?:option|choice|letter|answer)\b)?[\s:]*",
    re.IGNORECASE,
)
_RIGHT = re.compile(r"(?<![A-Za-z0-9'’])([A-J])[)\]*]{0,4}\s{1,3}is\s{1,3}(?:the\s{1,3})?(?:correct|right|best)\b")
_ALONE = re.compile(r"[).:]|[\s*_$\"'`)\]\\]*$")


@dataclass(frozen=True)
class ChoiceGrader(AnswerGrader):
    r"""A success is the gold letter, A to J.

    It stands in the last `\boxed{...}`, else in the last `<answer>...</answer>`, else in the last "answer is ...",
    "answer: ..." or "... is correct", else alone, or as "C." or "(C)", at the start of the last non-empty line. Two
    letters are no answer; neither is a word or a sentence that starts with one ("I think"). Only what follows
    `</think>` counts, as for mathematics.
    """

    name: ClassVar[str] = "choice"

    def read(self, text: str) -> str:
        return read_letter(text)

    def judge(self, answer: str, gold: str) -> Verdict:
        return Verdict(float(answer == gold.strip().upper())) if answer else Verdict(0.0, NO_ANSWER)

    def write(self, gold: str) -> list[Written]:
        return [Written(f"The answer is {gold}.", gold)]


def read_letter(text: str) -> str:
    r"""The letter, as `ChoiceGrader` describes; "" if there is none.

    >>> read_letter(r"\boxed{C) Mars}"), read_letter("The answer is I."), read_letter("I think it is Mars.")
    ('C', 'I', '')
    """
    text = after_thinking(text)
    in_place = leading_letter(last_box(text) or "") or leading_letter(last_tag(text) or "")
    return in_place or stated_letter(text) or _last_line_letter(text)


def leading_letter(text: str) -> str:
    r"""The one letter that a text starts with: "C", "(C) Mars", "\text{C}"; "" for a word or for two letters."""
    text = _MARKUP.sub(" ", text[:WINDOW])
    found = _LETTER.match(text, _WRAPPING.match(text).end())
    if not found or not _END.match(text, found.end()) or _SECOND.match(text, found.end()):
        return ""
    return found[1].upper()


def stated_letter(text: str) -> str:
    """The letter of the last statement of an answer."""
    stated = [(found.start(), found[1]) for found in _RIGHT.finditer(text)]
    for found in reversed(list(_ANSWER.finditer(text))):
        lead = _LEAD.match(text, found.end(), found.end() + WINDOW)
        if lead and (letter := leading_letter(text[lead.end() : lead.end() + WINDOW])):
            stated.append((found.start(), letter))
            break
    return max(stated, default=(0, ""))[1]


def _last_line_letter(text: str) -> str:
    line = _MARKUP.sub(" ", text.rstrip().rpartition("\n")[2][:WINDOW])
    found = _LETTER.match(line, _WRAPPING.match(line).end())
    return leading_letter(line) if found and found[1].isupper() and _ALONE.match(line, found.end()) else ""
