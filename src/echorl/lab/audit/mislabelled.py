"""Prompts whose rollouts agree on an answer that the verifier rejects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from echorl.lab.audit.answers import is_same
from echorl.lab.audit.evidence import PromptEvidence, Rejected
from echorl.lab.audit.findings import MAX_REJECTED, Suspect, quoted
from echorl.lab.audit.groups import GroupTable

MIN_AGREEING = 3
"""Rollouts that must give one answer."""
AGREEMENTS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of a prompt's rollouts that must give one answer: the first at which the log has few rejected answers."""


def needed_agreement(groups: GroupTable, agreeing: Sequence[Rejected]) -> tuple[float, float]:
    """Return the share of a prompt's rollouts that must agree, and the share of rejected answers where so many do.

    A prompt's accepted rollouts agree on the reference answer.
    """
    verdicts, successes = np.bincount(groups.prompt, groups.verdicts), np.bincount(groups.prompt, groups.successes)
    accepted = successes / np.maximum(verdicts, 1)
    rejected = np.array([answers.agreeing / answers.count for answers in agreeing])
    shares = []
    for agreement in AGREEMENTS:
        number = (rejected >= agreement).sum()
        shares.append(float(number / max(1, number + (accepted >= agreement).sum())))
        if shares[-1] <= MAX_REJECTED:
            break
    best = shares.index(min(shares))
    return AGREEMENTS[best], shares[best]


def mislabelled(
    evidence: PromptEvidence, agreeing: Sequence[tuple[int, Rejected]], agreement: float
) -> Iterator[Suspect]:
    """Yield the prompts of which such a share of rollouts agrees on a rejected answer."""
    for prompt, rejected in agreeing:
        if rejected.agreeing >= agreement * rejected.count:
            score = rejected.agreeing / (rejected.count + 2)  # so that 8 of 8 come before 4 of 4
            why = _why(rejected, evidence.reference_answer(prompt))
            yield Suspect("mislabelled", prompt, why, score, rejected.commonest()[1].places)


def _why(rejected: Rejected, reference: str | None) -> str:
    answer, rollouts = rejected.commonest()
    unread = f" ({rejected.unreadable.count} have no readable answer)" if rejected.unreadable.count else ""
    expected = "" if reference is None else f", where the reference answer is {quoted(reference)}"
    return f"{rollouts.count} of {rejected.count} rollouts{unread} answer {quoted(answer)}{expected}; none is accepted."


def rejected_matches(evidence: PromptEvidence) -> Iterator[Suspect]:
    """Yield the prompts whose reference answer stands in rejected responses, and none is accepted."""
    for prompt, rejected in evidence.rejected.items():
        reference = evidence.reference_answer(prompt)
        for answer, rollouts in rejected.answers.items() if reference else ():
            if is_same(answer, reference or ""):
                count, verb = rollouts.count, "answer" if rollouts.count > 1 else "answers"
                why = (
                    f"{count} of {rejected.count} rollouts {verb} {quoted(answer)}, which equals the reference answer "
                    f"{quoted(reference or '')}, but none is accepted: the verifier may not read this form."
                )
                yield Suspect("rejected_match", prompt, why, count / (rejected.count + 2), rollouts.places)
                break
