"""The groups of a generation batch, sorted into kinds by the success of their rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echorl.core.statistics import KINDS, GroupStatistics, are_equal, kind_of


@dataclass(frozen=True, eq=False)
class Groups:
    """G groups in order of their ids, and the group of each of N rollouts.

    Attributes:
        kind: int64 [G], index into `KINDS`, by the success of the group's rollouts.
        degenerate: bool [G], true where all rewards are equal: the group has no policy gradient.
        index: int64 [N], each rollout's group.
    """

    kind: Tensor
    degenerate: Tensor
    index: Tensor

    def __len__(self) -> int:
        return self.kind.numel()

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of `values` [N] over the rollouts of each group, [G]; of bool values the count."""
        values = values.long() if values.dtype == torch.bool else values
        return values.new_zeros(len(self)).scatter_add_(0, self.index, values)

    def of_kind(self, *names: str) -> Tensor:
        """bool [G]: the group is of one of these kinds."""
        return torch.isin(self.kind, torch.tensor([KINDS.index(name) for name in names], device=self.kind.device))

    def record(self, statistics: GroupStatistics, lengths: Tensor, filtered: Tensor) -> dict[str, float]:
        """Add the groups to the statistics and return their metrics; the arguments are those of `columns`."""
        return statistics.record(*self.columns(lengths, filtered))

    def columns(self, lengths: Tensor, filtered: Tensor) -> list[list[Any]]:
        """Return the arguments of `GroupStatistics.record`.

        Args:
            lengths: int [N], the response tokens of each rollout.
            filtered: bool [G], the groups that dynamic sampling keeps out of the policy loss.
        """
        return [column.tolist() for column in (self.kind, self.degenerate, self.sum(lengths), filtered)]


def classify_groups(
    success: Tensor, has_verdict: Tensor, rewards: Tensor, group_ids: Tensor, *, kept: Tensor | None = None
) -> Groups:
    """Sort groups into kinds.

    Args:
        success: bool [N]; has_verdict: bool [N], false where no verifier gave a verdict.
        rewards: float [N] or [N, F]: what the advantages are made of (the weighted sum, or every function's rewards
            where they are normalised one by one). NaN where there is none.
        group_ids: int [N], equal for the rollouts of one prompt.
        kept: bool [N], false where the rollout is masked as truncated.

    Raises:
        ValueError: a group id is NaN.
    """
    index, num = number_groups(group_ids)
    num_verdicts = _count(has_verdict, index, num)
    num_success = _count(success & has_verdict, index, num)
    degenerate = _uniform(rewards if rewards.dim() == 2 else rewards.unsqueeze(1), index, num)
    num_kept = 1 if kept is None else _count(kept, index, num)
    kind = kind_of(num_success, num_verdicts, degenerate, num_kept)
    return Groups(kind=kind, degenerate=degenerate, index=index)


def number_groups(group_ids: Tensor) -> tuple[Tensor, int]:
    """Number the groups from 0 in order of their ids: (int64 [N], each rollout's group; how many groups there are).

    Raises:
        ValueError: an id is NaN, which equals no other, so that no two rollouts would share a group.
    """
    if group_ids.is_floating_point() and bool(group_ids.isnan().any()):
        raise ValueError(
            "a group id is NaN, which equals no other id: give the rollouts of a prompt the same whole number."
        )
    ids, index = torch.unique(group_ids, return_inverse=True)
    return index, ids.numel()


def _count(flags: Tensor, index: Tensor, num: int) -> Tensor:
    return torch.zeros(num, dtype=torch.int64, device=index.device).scatter_add_(0, index, flags.long())


def _uniform(rewards: Tensor, index: Tensor, num: int) -> Tensor:
    """bool [G]: every column's rewards are equal, or the group has none."""
    places = index.unsqueeze(1).expand_as(rewards)
    least, most = (
        torch.full((num, rewards.shape[1]), fill, dtype=rewards.dtype, device=rewards.device).scatter_reduce_(
            0, places, rewards.nan_to_num(nan=fill), reduce=reduce
        )
        for fill, reduce in ((torch.inf, "amin"), (-torch.inf, "amax"))
    )
    return are_equal(least, most).all(1)
