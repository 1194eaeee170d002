"""Negative rollouts: wrong rollouts in groups that are all right."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.core.options import option
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method

SUFFIX = (
    "\n\nFor this solution, hold one mistaken belief that a student of this subject could well have. Do not name it, "
    "and do not correct it. Work through the problem in clear steps that follow from this belief, and end with the "
    "wrong answer that it leads to, written in the form that is asked for."
)
"""Request for a mistake, after the prompt; it is not part of what the policy is trained on."""


@register_method("negative_rollouts")
@dataclass(frozen=True, kw_only=True)
class NegativeRollouts(GRPO):
    """GRPO; in a group that is all right, wrong rollouts sampled on request replace the last ones.

    (arXiv 2609.33126.) For each such group `num_mistakes` rollouts are sampled from the prompt and `mistake_suffix`.
    Those that the verifier rejects take the places of the group's last rollouts; the group stays as it is if there
    are none. The log-probs are those of the mistake after the prompt alone, without the suffix. With `mistake_prefix`
    a mistake continues a part of one of the group's last rollouts, and the suffix comes after that part.
    """

    addresses = MappingProxyType({"all_success": "gets wrong rollouts, sampled on request"})

    num_mistakes: int = option(2, "Rollouts sampled on request for a group that is all right; 0: GRPO.", ge=0)
    mistake_suffix: str = option(
        SUFFIX,
        "Text after the prompt that asks for a mistake. Empty: hotter rollouts of the prompt, for a policy that cannot "
        "follow a request.",
    )
    mistake_prefix: float = option(
        0.0, "Share of the tokens of a right rollout of the group that each of them begins with.", ge=0, lt=1
    )
    mistake_temperature: float = option(1.2, "Temperature at which they are sampled.", gt=0)
    mistake_top_p: float = option(0.95, "Nucleus from which they are sampled.", gt=0, le=1)

    @property
    def trl_hooks(self) -> str | None:  # type: ignore[override]
        return "echorl.trl.methods.negative_rollouts:NegativeRolloutsHooks" if self.num_mistakes else None

    @property
    def needs_verdicts(self) -> bool:
        return self.num_mistakes > 0


def replaced_rows(groups: list[int], wrong: list[bool], group_size: int, most: int) -> dict[int, int]:
    """Return row -> number of the attempt that replaces it: the last rows of a group by its wrong attempts, in order.

    `groups` and `wrong` have an entry for each attempt; no group takes more than `most`.

    >>> replaced_rows([0, 0, 2, 2], [True, True, False, True], 4, 2)
    {2: 0, 3: 1, 11: 3}
    """
    attempts: dict[int, list[int]] = {}
    for attempt, (group, is_wrong) in enumerate(zip(groups, wrong, strict=True)):
        if is_wrong:
            attempts.setdefault(group, []).append(attempt)
    return {
        (group + 1) * group_size - len(taken) + number: attempt
        for group, taken in ((group, numbers[:most]) for group, numbers in attempts.items())
        for number, attempt in enumerate(taken)
    }
