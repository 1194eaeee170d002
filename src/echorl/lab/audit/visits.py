"""Groups of a prompt that comes more than once in a batch, told apart by the order of the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MIN_RUNS = 16
"""Runs of equal length that are no coincidence even where prompts come in several."""
MAX_SUM = 1e-3
"""The mean of advantages that is 0 up to rounding."""
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def in_order(group: Ints) -> Ints:
    """Number groups from 0 in order of their first rollouts."""
    _, first, index = np.unique(group, return_index=True, return_inverse=True)
    place = np.empty_like(first)
    place[np.argsort(first)] = np.arange(len(first))
    return place[index]


def split_visits(group: Ints, sure: npt.NDArray[np.bool_], has_step: bool, counts: Counter[str]) -> Ints:
    """Tell apart the groups of a prompt that comes more than once in a batch, by the order of the rows.

    The rows of a group must stand together: the shortest run of a prompt's rows is then the size of a group, and all
    runs are multiples of it. In a step most prompts must come once, with that size. A log without steps may visit every
    prompt several times: there most runs must have that size, and be many.

    Args:
        group: int64 [N], the key of each rollout.
        sure: bool [K], keys that are one group.
        counts: gets the keys "split", "unsplit" and "open_steps".
    """
    sizes, starts = np.bincount(group), np.flatnonzero(np.diff(group, prepend=-1))
    if has_step and not sure.any():
        counts["open_steps"] += may_all_come_several_times(group)
    if sure.all() or (len(starts) == len(sizes) and (sizes == sizes[0]).all()):
        return group
    lengths = np.diff(starts, append=len(group))
    size = lengths.min()
    comes_once = (np.bincount(group[starts]) == 1) & (sizes == size)
    many_runs = not has_step and len(starts) >= MIN_RUNS and (lengths == size).mean() > 0.5
    if size > 1 and (lengths % size == 0).all() and (comes_once.mean() > 0.5 or many_runs):
        run, place = np.repeat(np.arange(len(starts)), lengths), np.arange(len(group)) - np.repeat(starts, lengths)
        parts = np.where(sure[group], group, len(sizes) + run * len(group) + place // size)
        counts["split"] += len(np.unique(parts)) - len(sizes)
        return parts
    usual = Counter(sizes.tolist()).most_common(1)[0][0]
    if (sizes == usual).mean() > 0.5:
        counts["unsplit"] += int(((sizes > usual) & (sizes % usual == 0) & ~sure).sum())
    return group


def may_all_come_several_times(group: Ints) -> bool:
    """Return whether a batch has one prompt, or all of its prompts in several runs of one length."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    lengths = np.diff(starts, append=len(group))
    several_runs = (np.bincount(group[starts]) > 1).all() and lengths[0] > 1 and (lengths == lengths[0]).all()
    return len(starts) == 1 or bool(several_runs)


def block_size(batches: Sequence[tuple[Ints, Floats]]) -> int | None:
    """Return the size of groups that stand one after the other, as TRL logs them: the advantages of each sum to 0.

    It is the least that divides all batches, with many groups that have a gradient: some smaller blocks of a group sum
    to 0 as well, not all of many. None where there is no such size.

    Args:
        batches: (group, advantage) of the rows of each batch; int64 [N], float64 [N].

    >>> batch = np.zeros(64, dtype=np.int64), np.tile([1.5, -0.5, -0.5, -0.5], 16)
    >>> block_size([batch]), block_size([(batch[0], batch[1] + 1)]), block_size([])
    (4, None, None)
    """
    least = min((len(group) for group, _ in batches), default=0)
    return next((size for size in range(2, least + 1) if _are_blocks(batches, size)), None)


def _are_blocks(batches: Sequence[tuple[Ints, Floats]], size: int) -> bool:
    num_with_gradient = 0
    for group, advantage in batches:
        if len(group) % size:
            return False
        groups, advantages = group.reshape(-1, size), advantage.reshape(-1, size)
        largest = abs(advantages).max(axis=1)
        if (groups != groups[:, :1]).any() or (abs(advantages.sum(axis=1)) > MAX_SUM * size).any():
            return False
        num_with_gradient += int((largest > MAX_SUM).sum())
    return num_with_gradient >= MIN_RUNS
