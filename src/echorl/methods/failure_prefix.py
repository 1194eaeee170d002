"""Failure prefixes: groups that begin within an earlier rollout, a rare failure."""

from __future__ import annotations

from dataclasses import dataclass

from echorl.core.options import option
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("failure_prefix")
@dataclass(frozen=True, kw_only=True)
class FailurePrefix(GRPO):
    """GRPO on the continuations of prompt + the beginning of a rollout that failed, where the prompt is saturated.

    (arXiv 2601.20829.) A plain visit with at least `saturated` of its rollouts right, and one wrong, keeps the first
    that is wrong. On later visits all rollouts of the group begin with `share` of its tokens. The longer the prefix of
    a failure, the harder the group: the share grows by `step` where too many are right, and shrinks where too few are.
    """

    trl_hooks = "echorl.trl.methods.failure_prefix:FailurePrefixHooks"
    needs_verdicts = True

    saturated: float = option(0.75, "Share of successes from which on a prompt is saturated.", ge=0, le=1)
    share: float = option(0.5, "First share of the failure's tokens; 0: GRPO.", ge=0, le=1)
    step: float = option(0.125, "Change of the share; the failure is deleted when its share leaves (0, 1].", gt=0)
    target: float | None = option(
        None,
        "Share of successes that a group is moved towards, as near as one rollout allows. None: any mixed group is "
        "near enough, so that only a group of one verdict moves its share.",
        ge=0,
        le=1,
    )
    max_tokens: int | None = option(None, "Most tokens of a prefix; None: half of max_completion_length.", ge=1)

    def moved(self, share: float, num_success: int, num_verdicts: int) -> float:
        """Return the share after a group that began with it.

        >>> [FailurePrefix().moved(0.5, right, 8) for right in (8, 5, 0)]
        [0.625, 0.5, 0.375]
        >>> [FailurePrefix(target=0.5).moved(0.5, right, 8) for right in (8, 5, 4, 2)]
        [0.625, 0.625, 0.5, 0.375]
        """
        target = 0.5 if self.target is None else self.target
        aim = target * num_verdicts
        is_near = 0 < num_success < num_verdicts if self.target is None else abs(num_success - aim) <= 0.5
        if num_verdicts == 0 or is_near:
            return share
        return share + self.step if num_success > aim else share - self.step
