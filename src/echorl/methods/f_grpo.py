"""F-GRPO: advantages of easy prompts weighted down, as in the focal loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("f_grpo")
@dataclass(frozen=True, kw_only=True)
class FGRPO(GRPO):
    """GRPO with the advantages times (1 - mu)^gamma, mu the group's success rate (arXiv 2602.06717).

    An easy prompt counts less, a hard one nearly as in GRPO. The weight is 0 only where all succeeded, and there
    GRPO's advantage is 0, unless shaped rewards differ. A group without a verdict keeps GRPO's advantages.
    """

    exponent: float = option(1.0, "The focal weight's gamma; 0: GRPO.", ge=0)

    @property
    def needs_verdicts(self) -> bool:
        return self.exponent > 0

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        if not self.exponent:
            return advantages
        rate = rollouts.num_success / rollouts.num_verdicts.clamp(min=1)
        weight = (1 - rate.to(advantages)) ** self.exponent
        return advantages * weight[rollouts.groups.index]
