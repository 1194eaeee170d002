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


def needed_agreement(
    groups: GroupTable, agreeing: Sequence[Rejected], agreements: Sequence[float]
) -> tuple[float, float]:
    """Return the share of a prompt's rollouts that must agree, and the share of rejected answers where so many do.

    A prompt's accepted rollouts agree on the reference answer.
    """
    verdicts, successes = np.bincount(groups.prompt, groups.verdicts), np.bincount(groups.prompt, groups.successes)
    accepted = successes / np.maximum(verdicts, 1)
    rejected = np.array([each.agreeing / each.count for each in agreeing])
    shares = []
    for agreement in agreements:
        number = (rejected >= agreement).sum()
        shares.append(float(number / max(1, number + (accepted >= agreement).sum())))
        if shares[-1] <= MAX_REJECTED:
            break
    best = shares.index(min(shares))
    return agreements[best], shares[best]


def mislabelled(
    evidence: PromptEvidence, agreeing: Sequence[tuple[int, Rejected]], agreement: float
) -> Iterator[Suspect]:
    """Yield the prompts whose rollouts agree, or whose most frequent answer is the reference answer."""
    for prompt, rejected in agreeing:
        answer, rollouts = rejected.commonest()
        reference = evidence.references[prompt][0] if prompt in evidence.references else None
        is_match = reference is not None and is_same(answer, reference)
        if is_match or rejected.agreeing >= agreement * rejected.count:
            yield Suspect(
                kind="rejected_match" if is_match else "mislabelled",
                prompt=prompt,
                why=_why(rejected, reference, is_match),
                score=rollouts.count / (rejected.count + 2),  # so that 8 of 8 come before 4 of 4
                places=rollouts.places,
            )


def _why(rejected: Rejected, reference: str | None, is_match: bool) -> str:
    answer, rollouts = rejected.commonest()
    unread = f" ({rejected.unreadable.count} have no readable answer)" if rejected.unreadable.count else ""
    start = f"{rollouts.count} of {rejected.count} rollouts{unread} answer {quoted(answer)}"
    if reference is None:
        return f"{start}; the verifier accepts none."
    if is_match:
        return f"{start}, which is the reference answer {quoted(reference)}, but the verifier accepts none."
    return f"{start}, where the reference answer is {quoted(reference)}; the verifier accepts none."
