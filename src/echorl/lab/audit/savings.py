"""The cost of a full batch under dynamic sampling, and a replay of skipping solved prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from echorl.core.statistics import KINDS
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.intervals import Estimate, ratio
from echorl.lab.audit.losses import has_steps

STREAKS = (1, 2, 3)
MOST_ROUNDS = 1000
"""Rounds beyond which a batch counts as never full."""


@dataclass(frozen=True)
class DynamicSampling:
    """The groups to sample until a batch is full of groups with a gradient, as DAPO does (arXiv 2503.14476).

    Attributes:
        batch: groups with a gradient that a step wants.
        groups: expected groups to sample, batch / (1 - share without gradient); None where no group has a gradient. An
            upper end is None where the interval of the share reaches 1.
        rounds: expected rounds of `batch` groups each, sampled until enough have a gradient; the rest of the last round
            is thrown away. Likewise None.
    """

    batch: int
    groups: Estimate | None
    rounds: Estimate | None


def dynamic_sampling(share: Estimate, batch: int) -> DynamicSampling:
    """Return the cost of full batches when this share of groups has no gradient.

    New prompts are taken to be like those of the log: each has no gradient with the same chance, independently.

    Args:
        share: of groups without gradient, from `losses`.
        batch: groups of a step.

    >>> cost = dynamic_sampling(Estimate(0.5, 0.4, 0.6), 4)
    >>> cost.groups
    Estimate(value=8.0, low=6.666666666666667, high=10.0)
    """
    ends = (share.value, share.low, share.high)
    groups = [None if end is None or end >= 1 else batch / (1 - end) for end in ends]
    rounds = [None if end is None else _rounds(end, batch) for end in ends]
    return DynamicSampling(batch, _estimate(*groups), _estimate(*rounds))


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, low, high)


def _rounds(share: float, batch: int) -> float | None:
    """Return sum over r >= 0 of the chance that r rounds are not enough; None beyond `MOST_ROUNDS`."""
    rounds = np.arange(1, MOST_ROUNDS + 1, dtype=np.float64)
    missing = betainc(batch * (rounds - 1) + 1, batch, share)  # fewer than `batch` of batch x rounds groups
    return None if missing[-1] > 1e-3 else 1 + float(missing.sum())


@dataclass(frozen=True)
class SkippingRule:
    """A prompt is skipped for good once all its rollouts were right in `streak` visits in a row.

    Attributes:
        streak: visits.
        num_groups: visits of the log that would have been skipped.
        groups, rollouts: the share of the log's groups and rollouts that they are: what is saved.
        length: their share of the log's length (tokens); None where the log has no lengths.
        with_gradient: the share of the skipped visits that had a gradient: what is lost. None where none is skipped.
    """

    streak: int
    num_groups: int
    groups: Estimate
    rollouts: Estimate
    length: Estimate | None
    with_gradient: Estimate | None


@dataclass(frozen=True)
class Skipping:
    """A replay of skipping rules on the log; no rules, and the reason, where the log cannot tell.

    It counts what the log's own run did at the visits. A run that skips would have learned otherwise.
    """

    rules: list[SkippingRule]
    reason: str | None = None


def replay_skipping(groups: GroupTable) -> Skipping:
    """Return what skipping prompts that were all right 1, 2 or 3 visits in a row would have saved and lost."""
    order = _by_visit(groups)
    if (np.diff(groups.prompt[order]) != 0).all():
        return Skipping([], "no prompt comes up twice in the log, so there is no later visit to skip.")
    if not has_steps(groups):
        return Skipping([], "the log has no steps, so the order in which a prompt was visited is not known.")
    return Skipping([_replay(groups, order, streak) for streak in STREAKS])


def _by_visit(groups: GroupTable) -> npt.NDArray[np.int64]:
    """Return the groups' numbers sorted by prompt, and a prompt's visits by step, else by place in the log."""
    return np.lexsort((groups.line, groups.file, groups.step, groups.prompt))


def _replay(groups: GroupTable, order: npt.NDArray[np.int64], streak: int) -> SkippingRule:
    skipped = np.zeros(len(groups), dtype=np.bool_)
    solved = groups.kind == KINDS.index("all_success")
    skipped[order] = _after_streak(groups.prompt[order], solved[order], streak)
    ones = np.ones(len(groups))
    return SkippingRule(
        streak=streak,
        num_groups=int(skipped.sum()),
        groups=ratio(skipped, ones, groups.prompt),
        rollouts=ratio(groups.size * skipped, groups.size, groups.prompt),
        length=ratio(groups.length * skipped, groups.length, groups.prompt) if groups.length.any() else None,
        with_gradient=ratio(skipped & ~groups.degenerate, skipped, groups.prompt) if skipped.any() else None,
    )


def _after_streak(prompt: npt.NDArray[np.int64], solved: npt.NDArray[np.bool_], streak: int) -> npt.NDArray[np.bool_]:
    """Return bool [N], whether a prompt's visit comes after `streak` solved ones in a row; prompts lie together."""
    first = np.flatnonzero(np.diff(prompt, prepend=prompt[0] - 1))
    start = np.repeat(first, np.diff(first, append=len(prompt)))
    place = np.arange(len(prompt))
    failed = np.maximum.accumulate(np.where(solved, -1, place))
    streaks = np.cumsum(place - np.maximum(failed, start - 1) >= streak)
    before = np.concatenate([[0], streaks])
    result: npt.NDArray[np.bool_] = before[place] > before[start]
    return result
