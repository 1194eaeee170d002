"""Failure prefixes: groups that begin within a rare failure, made beforehand or met in training."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.core.options import option
from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("failure_prefix")
@dataclass(frozen=True, kw_only=True)
class FailurePrefix(Method):
    """DAPO's loss on the continuations of prompt + the beginning of a rollout that failed (arXiv 2601.20829).

    The clip is 0.2 / 0.4. The beginnings are made before the training, from rare failures on saturated prompts, and cut
    so that the policy goes on to a success at a chosen rate; a column of the rows, or a file, holds them.

    `online`: they are made in training instead. A plain visit with at least `saturated` of its rollouts right, and one
    wrong, keeps the first that is wrong. On later visits all rollouts of the group begin with `share` of its tokens.
    The longer the prefix of a failure, the harder the group: the share grows by `step` where too many are right, and
    shrinks where too few are.
    """

    addresses = MappingProxyType(
        {"all_success": "starts rollouts with a given text or, if online, the first half of a stored failure"}
    )
    settings = MappingProxyType(
        {"loss_type": "dapo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.4, "beta": 0.0}
    )

    prefixes: str = option(
        "failure_prefix",
        "Column of the rows with the text that a prompt's rollouts begin with (null: a plain group), or a .jsonl file "
        "of objects with 'prompt' and 'failure_prefix' (a prompt that it does not have: a plain group).",
    )
    online: bool = option(False, "Store failures in training and begin with them, in place of given beginnings.")
    saturated: float = option(0.75, "Online: share of successes from which on a prompt is saturated.", ge=0, le=1)
    share: float = option(0.5, "Online: first share of the failure's tokens; 0: none is used.", ge=0, le=1)
    step: float = option(
        0.125, "Online: change of the share; the failure is deleted when its share leaves (0, 1].", gt=0
    )
    target: float | None = option(
        None,
        "Online: share of successes that a group is moved towards, as near as one rollout allows. None: any mixed "
        "group is near enough, so that only a group of one verdict moves its share.",
        ge=0,
        le=1,
    )
    max_tokens: int | None = option(None, "Online: most tokens of a prefix; None: half of max_completion_length.", ge=1)

    @property
    def trl_hooks(self) -> str:  # type: ignore[override]
        name = "StoredFailureHooks" if self.online else "GivenPrefixHooks"
        return f"echorl.trl.methods.failure_prefix:{name}"

    @property
    def needs_verdicts(self) -> bool:
        return self.online

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
