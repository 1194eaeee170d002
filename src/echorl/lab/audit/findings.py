"""Suspects of a log: what they are, and how they are counted and quoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from echorl.lab.audit.evidence import Place
from echorl.support.visible import visible

SuspectKind = Literal[
    "mislabelled",
    "rejected_match",
    "several_references",
    "reward_values",
    "truncated_success",
    "never_solved",
    "equal_texts",
    "group_size",
]
SUSPECT_KINDS: tuple[SuspectKind, ...] = get_args(SuspectKind)
TITLES: Mapping[SuspectKind, tuple[str, str]] = {
    "mislabelled": ("prompt looks mislabelled", "prompts look mislabelled"),
    "rejected_match": (
        "prompt has its reference answer in a rejected response",
        "prompts have their reference answer in a rejected response",
    ),
    "several_references": ("prompt has several reference answers", "prompts have several reference answers"),
    "reward_values": ("reward is unusual for a verifier", "rewards are unusual for a verifier"),
    "truncated_success": (
        "prompt was solved by a truncated response",
        "prompts were solved by truncated responses",
    ),
    "never_solved": ("prompt was never solved in many visits", "prompts were never solved in many visits"),
    "equal_texts": ("prompt has groups of equal responses", "prompts have groups of equal responses"),
    "group_size": ("group size is unusual", "group sizes are unusual"),
}
"""Kind -> the words behind the number 1, and behind any other number."""

MAX_REJECTED = 0.1
"""Share of rejected answers, among those that rollouts agree on, up to which agreement is evidence."""
MAX_QUOTED = 60


@dataclass(frozen=True)
class Suspect:
    """A finding that a person should look at.

    Attributes:
        prompt: number of the prompt, as in the group table; None where the finding is about the log.
        why: one sentence with the numbers. Texts from the log are quoted in it, shortened, with visible characters.
        score: orders the suspects of a kind; the largest is the most convincing.
        places: rollouts to look at, at most 8.
    """

    kind: SuspectKind
    prompt: int | None
    why: str
    score: float
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Suspects:
    """Suspects of a log, by kind in the order of `SUSPECT_KINDS`, the most convincing first.

    Attributes:
        listed: at most `MAX_LISTED` of each kind.
        counts: kind -> number of suspects, also of those that are not listed; all kinds.
        agreement: share of a prompt's rollouts that had to give one rejected answer, so that it looks mislabelled.
        rejected_share: share of rejected answers among the answers that so many rollouts agree on.
    """

    listed: tuple[Suspect, ...]
    counts: Mapping[SuspectKind, int]
    agreement: float = 1.0
    rejected_share: float = 0.0

    def places(self) -> set[Place]:
        """Return the places of all rollouts to look at."""
        return {place for suspect in self.listed for place in suspect.places}

    def lines(self) -> list[str]:
        """Return a line for each kind that came up: the number of suspects, and how many are listed if not all."""
        lines = []
        for kind, count in self.counts.items():
            listed = sum(suspect.kind == kind for suspect in self.listed)
            cut = f" (the first {listed} are listed)" if listed < count else ""
            doubt = f"; {self.doubt}" if kind == "mislabelled" and self.doubt else ""
            if count:
                lines.append(f"{count:,} {TITLES[kind][count != 1]}{cut}{doubt}")
        return lines

    @property
    def doubt(self) -> str:
        """Reason why agreement is weak evidence in this log; "" where it is not."""
        if self.rejected_share <= MAX_REJECTED:
            return ""
        return (
            f"but {self.rejected_share:.0%} of the answers that rollouts agree on are rejected in this log, so many of "
            "them may be errors of the policy"
        )


def quoted(text: str) -> str:
    """Return a text from the log in quotes, on one line, shortened, with visible characters.

    >>> quoted("a\\n\\x00b"), len(quoted("9" * 1000))
    ("'a ␀b'", 63)
    """
    line = " ".join(visible(text[: MAX_QUOTED + 1]).split())
    return f"'{line[:MAX_QUOTED]}…'" if len(line) > MAX_QUOTED else f"'{line}'"
