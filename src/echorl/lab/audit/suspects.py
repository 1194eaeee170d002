"""Prompts, rewards and groups of a log that look wrong, as a list that a person can walk through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from echorl.lab.audit.answers import same_answer
from echorl.lab.audit.evidence import Place, PromptEvidence, Rejected
from echorl.lab.audit.groups import GroupTable
from echorl.support.visible import visible

Kind = Literal["mislabelled", "rejected_match"]
SUSPECT_KINDS: tuple[Kind, ...] = get_args(Kind)
TITLES: Mapping[Kind, str] = {
    "mislabelled": "prompts whose reference answer looks wrong",
    "rejected_match": "prompts whose reference answer the verifier rejects",
}
"""Kind -> the noun phrase behind its count, as in "12 prompts whose reference answer looks wrong"."""
MIN_AGREEING = 4
"""Rollouts that must give one answer."""
MIN_AGREEMENT = 0.8
"""Share of a prompt's rejected rollouts with a readable answer that must give this answer."""
MAX_LISTED = 200
"""Suspects of a kind that are listed; the most convincing ones."""
MAX_QUOTED = 60


@dataclass(frozen=True)
class Suspect:
    """A finding that a person should look at.

    Attributes:
        prompt: number of the prompt, as in the group table; None where it is about the log.
        why: one sentence with the numbers. Texts from the log are quoted in it, shortened, with visible characters.
        score: orders the suspects of a kind; the largest is the most convincing.
        places: rollouts to look at, at most 8.
    """

    kind: Kind
    prompt: int | None
    why: str
    score: float
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Suspects:
    """All suspects of a log, by kind in the order of `SUSPECT_KINDS`, the most convincing first.

    Attributes:
        listed: at most `MAX_LISTED` of each kind.
        counts: kind -> number of suspects, also of those that are not listed; all kinds.
    """

    listed: tuple[Suspect, ...]
    counts: Mapping[Kind, int]

    def lines(self) -> list[str]:
        """Return a line for each kind that came up: its number, what it is, and how many are listed if not all."""
        listed = {kind: sum(each.kind == kind for each in self.listed) for kind in SUSPECT_KINDS}
        return [
            f"{count} {TITLES[kind]}" + (f" (the first {listed[kind]} are listed)" if count > listed[kind] else "")
            for kind, count in self.counts.items()
            if count
        ]


def find_suspects(
    groups: GroupTable,
    evidence: PromptEvidence,
    *,
    min_agreeing: int = MIN_AGREEING,
    min_agreement: float = MIN_AGREEMENT,
    max_listed: int = MAX_LISTED,
) -> Suspects:
    """Return what looks wrong in the data or the verifier.

    Args:
        min_agreeing, min_agreement: number and share of a prompt's rejected rollouts that must give one answer, so that
            its reference answer looks wrong. Rollouts without a readable answer are not counted.
        max_listed: suspects of a kind that are listed.
    """
    suspects = list(_agreeing(evidence, min_agreeing, min_agreement))
    listed: list[Suspect] = []
    for kind in SUSPECT_KINDS:
        of_kind = sorted((each for each in suspects if each.kind == kind), key=lambda each: -each.score)
        listed += of_kind[:max_listed]
    return Suspects(tuple(listed), {kind: sum(each.kind == kind for each in suspects) for kind in SUSPECT_KINDS})


def _agreeing(evidence: PromptEvidence, min_agreeing: int, min_agreement: float) -> Iterator[Suspect]:
    """Yield the prompts whose rollouts agree on one rejected answer."""
    for prompt, rejected in evidence.never_accepted():
        answer, rollouts = rejected.commonest()
        readable = rejected.count - rejected.unreadable.count
        if rollouts.count >= min_agreeing and rollouts.count >= min_agreement * readable:
            reference = evidence.reference_answer(prompt)
            kind: Kind = "rejected_match" if reference and same_answer(answer, reference) else "mislabelled"
            why = _why_agreeing(rejected, reference if kind == "mislabelled" else None, kind)
            score = rollouts.count / (readable + 2)  # so that 8 of 8 come before 4 of 4
            yield Suspect(kind, prompt, why, score, rollouts.places)


def _why_agreeing(rejected: Rejected, reference: str | None, kind: Kind) -> str:
    answer, rollouts = rejected.commonest()
    unreadable = rejected.unreadable.count
    parts = [f"{rollouts.count} of {rejected.count} rollouts answer {quoted(answer)}"]
    if unreadable:
        parts.append(f"{unreadable} without a readable answer")
    if kind == "rejected_match":
        parts.append("which is the reference answer, and the verifier accepts none")
    elif reference is not None:
        parts.append(f"the reference answer is {quoted(reference)}, and the verifier accepts none")
    else:
        parts.append("and the verifier accepts none")
    return ", ".join(parts) + "."


def quoted(text: str) -> str:
    """Return a text from the log in quotes, on one line, shortened, with visible characters.

    >>> quoted("a\\n\\x00b"), len(quoted("9" * 1000))
    ("'a ␀b'", 63)
    """
    line = " ".join(visible(text[: MAX_QUOTED + 1]).split())
    return f"'{line[:MAX_QUOTED]}…'" if len(line) > MAX_QUOTED else f"'{line}'"
