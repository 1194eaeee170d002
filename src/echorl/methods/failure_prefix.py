"""Groups that begin within an earlier rollout, a rare failure."""

from __future__ import annotations

from dataclasses import dataclass

from echorl.methods.base import check_positive, check_share, check_whole
from echorl.methods.group_relative import GRPO


@dataclass(frozen=True, kw_only=True)
class FailurePrefix(GRPO):
    """GRPO on the continuations of prompt + the beginning of a rollout that failed, where the prompt is saturated.

    (arXiv 2601.20829, by notes.) A plain visit with at least `saturated` of its rollouts right, and one wrong, keeps
    the first that is wrong. On later visits all rollouts of the group begin with `share` of its tokens. The more of a
    failure there is, the harder the group: the share grows by `step` where too many are right, and shrinks where too
    few are.

    Args:
        saturated: share of successes from which on a prompt is saturated.
        share: of the failure's tokens, at first; 0: GRPO.
        step: by which the share moves; beyond the whole, or at nothing, the failure is dropped.
        target: the share of successes that a group is moved towards, as near as one rollout allows; None: to any mixed
            group, so that only a group of one verdict moves its share.
        max_age: optimiser steps after which a failure is dropped; None: it stays until its share is used up. An epoch
            of a large data set has hundreds of steps: a smaller age than that drops everything unused.
        max_tokens: a prefix is cut to so many; None: half of `max_completion_length`.

    Raises:
        ValueError: a value is out of range.
    """

    part = "failure_prefix"
    needs_verdicts = True

    saturated: float = 0.75
    share: float = 0.5
    step: float = 0.125
    target: float | None = None
    max_age: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_share(saturated=self.saturated, share=self.share)
        check_positive(step=self.step)
        if self.target is not None:
            check_share(target=self.target)
        limits = {"max_age": self.max_age, "max_tokens": self.max_tokens}
        check_whole(1, **{name: value for name, value in limits.items() if value is not None})

    def moved(self, share: float, right: int, judged: int) -> float:
        """The share after a group that began with it, `right` of `judged` rollouts right.

        >>> [FailurePrefix().moved(0.5, right, 8) for right in (8, 5, 0)]
        [0.625, 0.5, 0.375]
        >>> [FailurePrefix(target=0.5).moved(0.5, right, 8) for right in (8, 5, 4, 2)]
        [0.625, 0.625, 0.5, 0.375]
        """
        target = 0.5 if self.target is None else self.target
        near = 0 < right < judged if self.target is None else abs(right - target * judged) <= 0.5
        if judged == 0 or near:
            return share
        return share + self.step if right > target * judged else share - self.step
