"""Groups without a gradient: how large their share is, how it changed over the run, and how it may go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echorl.core.statistics import KINDS
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.intervals import Estimate, ratio
from echorl.lab.audit.trend import Trend, fit_trend

POINTS = 30
"""The most points of a curve."""
GROUPS_A_POINT = 30
"""The fewest groups that a point of a curve has on average; below it steps are joined."""
RECENT = 0.2
"""Share of the steps that counts as the end of a run, if it has `GROUPS_A_POINT` groups or more."""

PARTS = (
    "no_gradient",
    "all_success",
    "all_fail",
    "mixed",
    "uniform_reward",
    "unscored",
    "all_success_no_gradient",
    "all_fail_no_gradient",
    "unscored_no_gradient",
    "other_reward",
    "all_success_other_reward",
    "all_fail_other_reward",
)
"""The parts of a log whose shares are told; in those of "other_reward" the only gradient is another reward's.

no_gradient = all_success_no_gradient + all_fail_no_gradient + uniform_reward + unscored_no_gradient; all_success =
all_success_no_gradient + all_success_other_reward."""


@dataclass(frozen=True)
class Shares:
    """Shares of each of `PARTS` in a stretch of the log.

    Attributes:
        first_step, last_step: the stretch, both included; None where the log has no steps.
        num_groups, num_prompts, num_rollouts, length: what the stretch has; the length in the table's unit.
        groups: part -> share of groups.
        rollouts: part -> share of rollouts.
        lengths: part -> share of length (tokens); None where the log has no lengths.
    """

    first_step: int | None
    last_step: int | None
    num_groups: int
    num_prompts: int
    num_rollouts: int
    length: int
    groups: dict[str, Estimate]
    rollouts: dict[str, Estimate]
    lengths: dict[str, Estimate] | None


@dataclass(frozen=True)
class EffectiveBatch:
    """Groups with a gradient in a step.

    Attributes:
        groups: groups in a step, on average.
        with_gradient: groups with a gradient in a step, on average: groups x (1 - share without), with its interval.
        low_decile: in one of ten steps no more groups than this have a gradient.
        empty_steps: steps in which no group has a gradient.
        num_steps: steps.
    """

    groups: float
    with_gradient: Estimate
    low_decile: int
    empty_steps: int
    num_steps: int


@dataclass(frozen=True)
class Losses:
    """Losses of a run on groups without a gradient.

    Attributes:
        whole, recent: the shares in the whole log and in its last fifth (`recent_groups`).
        curve: the shares in up to 30 stretches of equally many steps, from first to last.
        batch, recent_batch: the effective batch in the whole log and in its last fifth; None where it has no steps.
        trend: how the share of groups without gradient goes on; None where the log has too little for a trend or
            for a curve.
    """

    whole: Shares
    recent: Shares
    curve: list[Shares]
    batch: EffectiveBatch | None
    recent_batch: EffectiveBatch | None
    trend: Trend | None


def measure_losses(groups: GroupTable) -> Losses:
    """Return the shares of all parts over the whole log, its last fifth and in a curve, the batch and the trend.

    The last fifth is that of the steps that the log has, or the whole log where it is short (`recent_groups`). All
    intervals are 95 % ones, clustered by prompt (`intervals.ratio`): they tell how far the share could lie off because
    other prompts, and other rollouts of them, could have come up.

    Raises:
        ValueError: the table has no group.
    """
    if not len(groups):
        raise ValueError("the log has no group of two or more rollouts: nothing can be said about groups.")
    recent, curve = recent_groups(groups), [measure_shares(stretch) for stretch in _stretches(groups)]
    return Losses(
        whole=measure_shares(groups),
        recent=measure_shares(recent),
        curve=curve,
        batch=measure_batch(groups),
        recent_batch=measure_batch(recent),
        trend=fit_trend(groups) if has_steps(groups) and len(curve) > 1 else None,
    )


def has_steps(groups: GroupTable) -> bool:
    """Return whether every group has a step."""
    return bool((groups.step >= 0).all())


def recent_groups(groups: GroupTable) -> GroupTable:
    """Return the groups of the last fifth of the log's steps.

    All groups where one has no step, since its time is unknown, or where the fifth has fewer than `GROUPS_A_POINT`,
    which tell nothing about the end of a run.
    """
    if not has_steps(groups):
        return groups
    time, place = _timeline(groups)
    recent = groups[place >= len(time) - max(1, round(RECENT * len(time)))]
    return recent if len(recent) >= GROUPS_A_POINT else groups


def part_masks(groups: GroupTable) -> dict[str, npt.NDArray[np.bool_]]:
    """Return part -> bool [N], whether a group belongs to it, for each of `PARTS`."""
    kinds = {name: groups.kind == code for code, name in enumerate(KINDS)}
    masks = {"no_gradient": groups.degenerate, **{name: kinds[name] for name in PARTS if name in kinds}}
    for name in ("all_success", "all_fail", "unscored"):
        masks[f"{name}_no_gradient"] = kinds[name] & groups.degenerate
    for name in ("all_success", "all_fail"):
        masks[f"{name}_other_reward"] = kinds[name] & ~groups.degenerate
    masks["other_reward"] = masks["all_success_other_reward"] | masks["all_fail_other_reward"]
    return masks


def measure_shares(groups: GroupTable) -> Shares:
    """Return the share of each part in these groups, of groups, of rollouts and of length."""
    masks, steps = part_masks(groups), has_steps(groups)
    return Shares(
        first_step=int(groups.step.min()) if steps else None,
        last_step=int(groups.step.max()) if steps else None,
        num_groups=len(groups),
        num_prompts=len(np.unique(groups.prompt)),
        num_rollouts=int(groups.size.sum()),
        length=int(groups.length.sum()),
        groups=_shares(masks, np.ones(len(groups)), groups),
        rollouts=_shares(masks, groups.size, groups),
        lengths=_shares(masks, groups.length, groups) if groups.length.any() else None,
    )


def _shares(
    masks: Mapping[str, npt.NDArray[np.bool_]], weight: npt.NDArray[np.float64 | np.int64], groups: GroupTable
) -> dict[str, Estimate]:
    return {part: ratio(weight * masks[part], weight, groups.prompt) for part in PARTS}


def measure_batch(groups: GroupTable) -> EffectiveBatch | None:
    """Return how many groups of a step have a gradient; None where a group has no step."""
    if not has_steps(groups):
        return None
    _, place = np.unique(groups.step, return_inverse=True)
    sizes, useful = np.bincount(place), np.bincount(place, ~groups.degenerate)
    lost = ratio(groups.degenerate, np.ones(len(groups)), groups.prompt)
    size = float(sizes.mean())
    ends = [None if end is None else size * (1 - end) for end in (lost.high, lost.low)]
    return EffectiveBatch(
        groups=size,
        with_gradient=Estimate(size * (1 - lost.value), *ends),
        low_decile=int(np.quantile(useful, 0.1, method="inverted_cdf")),
        empty_steps=int((useful == 0).sum()),
        num_steps=len(sizes),
    )


def _timeline(groups: GroupTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the log's times in order and each group's place among them: its steps, else its groups."""
    time = groups.step if has_steps(groups) else np.arange(len(groups))
    return np.unique(time, return_inverse=True)


def _stretches(groups: GroupTable) -> Iterator[GroupTable]:
    """Yield the groups of consecutive stretches of equally many steps (or groups, without steps)."""
    time, place = _timeline(groups)
    number = min(POINTS, len(time), max(1, len(groups) // GROUPS_A_POINT))
    bins = place * number // len(time)
    order = np.argsort(bins, kind="stable")
    for rows in np.split(order, np.searchsorted(bins[order], np.arange(1, number))):
        yield groups[rows]
