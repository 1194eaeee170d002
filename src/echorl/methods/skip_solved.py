"""Prompts whose last visits were all-success are passed over: rollouts that are not drawn cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

from echorl.methods.base import check_whole
from echorl.methods.group_relative import GRPO


@dataclass(frozen=True, kw_only=True)
class SkipSolved(GRPO):
    """GRPO; in place of a prompt whose last visits were all-success comes another one of the training rows.

    Every prompt comes up once an epoch, as ever. After having been passed over `rest` times it is visited again, so one
    that the policy has unlearned comes back. Where every prompt is solved none is passed over.

    Args:
        visits: a prompt is solved after so many all-success visits in a row.
        rest: how many times it is passed over before its next visit; 0: GRPO.

    Raises:
        ValueError: a value is out of range.
    """

    part = "skip_solved"
    needs_verdicts = True

    visits: int = 1
    rest: int = 3

    def __post_init__(self) -> None:
        check_whole(1, visits=self.visits)
        check_whole(0, rest=self.rest)

    def is_solved(self, streak: int, skipped: int) -> bool:
        """Whether a prompt is to be passed over, after `streak` all-success visits in a row and `skipped` passes.

        >>> [SkipSolved(visits=2, rest=3).is_solved(*pair) for pair in ((1, 0), (2, 0), (5, 2), (5, 3))]
        [False, True, True, False]
        """
        return streak >= self.visits and skipped < self.rest
