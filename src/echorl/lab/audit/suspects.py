"""Prompts, rewards and groups of a log that look wrong, as a list that a person can walk through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from echorl.lab.audit.evidence import MAX_ANSWERS, MAX_PLACES, Place, PromptEvidence, Rejected
from echorl.lab.audit.findings import SUSPECT_KINDS, Suspect, Suspects, quoted
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.mislabelled import MIN_AGREEING, mislabelled, needed_agreement, rejected_matches

MIN_VISITS = 3
"""Visits without a success after which a prompt is listed as never solved."""
MIN_BINARY = 0.95
"""Share of the two most frequent rewards from which on another value is taken for a mistake."""
MIN_EQUAL = {"tokens": 16, "characters": 64}
"""Length from which on equal responses are suspicious: short ones are often equal."""
MAX_LISTED = 100
"""Suspects of a kind that are listed, the most convincing ones."""


def find_suspects(groups: GroupTable, evidence: PromptEvidence, *, max_listed: int = MAX_LISTED) -> Suspects:
    """Return what looks wrong in the data or the verifier.

    A prompt looks mislabelled if its rollouts agree on an answer and the verifier accepts none of them. How many must
    agree depends on the log: a policy that is often wrong in one way agrees on wrong answers, too. So the share is the
    first of `AGREEMENTS` at which at most `MAX_REJECTED` of the answers that rollouts agree on are rejected. If there
    is none, it is that with the fewest. Rollouts without a readable answer count as if they disagreed. The table of
    `python -m benchmarks.audit_mislabelled` led to these defaults.

    Args:
        max_listed: suspects of a kind that are listed.
    """
    matches = list(rejected_matches(evidence))
    matching = {suspect.prompt for suspect in matches}
    agreeing = [
        (prompt, rejected)
        for prompt, rejected in evidence.rejected.items()
        if rejected.agreeing >= MIN_AGREEING and prompt not in matching
    ]
    agreement, rejected_share = needed_agreement(groups, [rejected for _, rejected in agreeing])
    agreed = [*mislabelled(evidence, agreeing, agreement), *matches]
    suspects = [
        *agreed,
        *_several_references(evidence),
        *_reward_values(evidence),
        *_truncated_successes(evidence),
        *_never_solved(groups, evidence, {suspect.prompt for suspect in agreed}),
        *_equal_texts(groups),
        *_group_sizes(groups),
    ]
    listed: list[Suspect] = []
    counts = dict.fromkeys(SUSPECT_KINDS, 0)
    for kind in SUSPECT_KINDS:
        of_kind = sorted((suspect for suspect in suspects if suspect.kind == kind), key=lambda suspect: -suspect.score)
        counts[kind] = len(of_kind)
        listed += of_kind[:max_listed]
    return Suspects(tuple(listed), counts, agreement, rejected_share)


def _several_references(evidence: PromptEvidence) -> Iterator[Suspect]:
    for prompt, tallies in evidence.other_references.items():
        reference, place = evidence.references[prompt]
        texts = " and ".join(quoted(text) for text in (reference, *tallies))
        number = f"{'at least ' if len(tallies) == MAX_ANSWERS else ''}{len(tallies) + 1}"
        places = [place, *(place for tally in tallies.values() for place in tally.places[:2])]
        why = f"The prompt comes with {number} different reference answers: {texts}."
        yield Suspect("several_references", prompt, why, len(tallies), tuple(places[:MAX_PLACES]))


def _reward_values(evidence: PromptEvidence) -> Iterator[Suspect]:
    counts = {value: tally.count for value, tally in evidence.rewards.items()}
    for why, values in unusual_rewards(counts).items():
        tallies = [evidence.rewards[value] for value in values[:MAX_PLACES]]
        first = MAX_PLACES if len(tallies) == 1 else 1
        places = tuple(place for tally in tallies for place in tally.places[:first])
        yield Suspect("reward_values", None, why, 1 / tallies[0].count, places)


def unusual_rewards(counts: Mapping[float, int]) -> dict[str, list[float]]:
    """Return sentence -> rewards, for the rewards besides the two most frequent ones.

    Where these are no exceptions, one sentence is about all rewards.

    Args:
        counts: the verifier's reward -> rollouts with it; nan stands for several (`counted_as`).

    >>> list(unusual_rewards({0.0: 60, 1.0: 39, 0.5: 1}))
    ['1 of 100 rewards are 0.5, where the usual ones are 0 or 1.']
    """
    values, total = sorted(counts, key=lambda value: -counts[value]), sum(counts.values())
    share = sum(counts[value] for value in values[:2]) / max(1, total)
    usual = " or ".join(f"{value:g}" for value in sorted(values[:2]))
    if values[2:] and share < MIN_BINARY:
        why = (
            f"The verifier's column has {len(values)} different rewards, and only {share:.0%} of them are {usual}: "
            "it gives partial credit, or another column is the verifier's."
        )
        return {why: values}
    names = {value: "another value" if math.isnan(value) else f"{value:g}" for value in values[2:]}
    return {
        f"{counts[value]:,} of {total:,} rewards are {name}, where the usual ones are {usual}.": [value]
        for value, name in names.items()
    }


def _truncated_successes(evidence: PromptEvidence) -> Iterator[Suspect]:
    truncated, complete = (_share(*counts) for counts in (evidence.truncated, evidence.complete))
    log = f"in the whole log {truncated} of the truncated and {complete} of the other responses are accepted"
    for prompt, tally in evidence.truncated_successes.items():
        responses = f"{tally.count} response{'s were' if tally.count > 1 else ' was'} accepted"
        why = f"{responses} although the limit of length cut the text ({log})."
        yield Suspect("truncated_success", prompt, why, tally.count, tally.places)


def _share(rejected: int, accepted: int) -> str:
    return f"{accepted / (rejected + accepted):.0%}" if rejected + accepted else "none"


def _never_solved(groups: GroupTable, evidence: PromptEvidence, agreeing: set[int | None]) -> Iterator[Suspect]:
    """Yield the prompts without a success in many visits, besides those whose rollouts agree on an answer."""
    groups = groups[groups.verdicts > 0]
    visits, successes = np.bincount(groups.prompt), np.bincount(groups.prompt, groups.successes)
    for prompt in np.flatnonzero((visits >= MIN_VISITS) & (successes == 0)).tolist():
        if prompt not in agreeing:
            rejected = evidence.rejected[prompt]
            why = f"None of {rejected.count} rollouts in {visits[prompt]} visits was accepted{_answers_of(rejected)}."
            yield Suspect("never_solved", prompt, why, rejected.count, rejected.places)


def _answers_of(rejected: Rejected) -> str:
    answer, rollouts = rejected.commonest()
    parts = [
        f"{rejected.truncated} ended at the limit of length" if rejected.truncated else "",
        f"{rejected.unreadable.count} have no readable answer" if rejected.unreadable.count else "",
        f"the most frequent answer {quoted(answer)} came {rollouts.count} times" if rollouts.count > 1 else "",
    ]
    return "".join(f"; {part}" for part in parts if part)


def _equal_texts(groups: GroupTable) -> Iterator[Suspect]:
    """Yield the prompts with groups of equal responses that are long, or that the verifier does not treat alike."""
    unequal_verdicts = (groups.successes > 0) & (groups.successes < groups.verdicts)
    is_long = groups.length >= MIN_EQUAL[groups.unit] * groups.size
    rows_of: dict[int, list[int]] = {}
    for row in np.flatnonzero((groups.num_texts == 1) & (groups.size > 1) & (is_long | unequal_verdicts)).tolist():
        rows_of.setdefault(int(groups.prompt[row]), []).append(row)
    for prompt, rows in rows_of.items():
        row = max(rows, key=lambda row: (unequal_verdicts[row], groups.length[row] / groups.size[row]))
        length = groups.length[row] / groups.size[row]
        verdicts = f"; the verifier accepts {groups.successes[row]} of them" if unequal_verdicts[row] else ""
        responses = f"all responses are the same text, e.g. {groups.size[row]} of {length:.0f} {groups.unit}{verdicts}"
        why = f"In {len(rows)} group{'s' if len(rows) > 1 else ''} {responses}."
        score = len(rows) + 1e9 * bool(unequal_verdicts[row])
        places = _rollouts_of(groups, row) if unequal_verdicts[row] else _places_of(groups, [row])
        places += _places_of(groups, [other for other in rows if other != row])
        yield Suspect("equal_texts", prompt, why, score, places[:MAX_PLACES])


def _group_sizes(groups: GroupTable) -> Iterator[Suspect]:
    """Yield the sizes besides the usual one; one suspect for all where no size is that of most groups."""
    sizes, first_rows, counts = np.unique(groups.size, return_index=True, return_counts=True)
    if len(sizes) < 2:
        return
    usual, share = int(sizes[counts.argmax()]), counts.max() / counts.sum()
    if share < 0.5:
        why = (
            f"Groups have {sizes[0]} to {sizes[-1]} rollouts, and no size is that of most groups: the run sets the "
            "size by prompt, or the rows are grouped by a wrong column."
        )
        yield Suspect("group_size", None, why, 1 - share, _places_of(groups, first_rows.tolist()))
        return
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if size != usual:
            have = f"{count:,} groups have" if count > 1 else "1 group has"
            repeated = f", as if the prompt came {size // usual} times in a step" if size % usual == 0 else ""
            why = f"{have} {size} rollouts, where the usual size is {usual}{repeated}."
            yield Suspect(
                "group_size", None, why, count, _places_of(groups, np.flatnonzero(groups.size == size).tolist())
            )


def _rollouts_of(groups: GroupTable, row: int) -> tuple[Place, ...]:
    """Return the rollouts of a group, or its first one where other rows of the log stand between them."""
    file, first, last = int(groups.file[row]), int(groups.line[row]), int(groups.last_line[row])
    number = min(MAX_PLACES, last - first + 1) if last - first + 1 == groups.size[row] else 1
    return tuple(Place(file, first + index) for index in range(number))


def _places_of(groups: GroupTable, rows: list[int]) -> tuple[Place, ...]:
    """Return the first rollouts of groups."""
    return tuple(Place(int(groups.file[row]), int(groups.line[row])) for row in rows[:MAX_PLACES])
