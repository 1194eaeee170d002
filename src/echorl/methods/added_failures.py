"""Added failures: zeros beside the rewards of groups that are all right."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.core.rollouts import Rollouts
from echorl.methods.avspo import lengthened_advantages
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("added_failures")
@dataclass(frozen=True, kw_only=True)
class AddedFailures(GRPO):
    """GRPO; where a group is all right, A = (r - mean) / (std + eps) with k zeros beside its rewards in mean and std.

    (arXiv 2609.33126.) So a success has the advantage of one among n successes and k failures. With equal rewards
    k = 1 is `avspo` with one virtual reward, on these groups. The std is a group's: `scale_rewards` must be "group".
    """

    addresses = MappingProxyType({"all_success": "A > 0, as if k more had failed: at G = 8 0.68"})
    fixed = ("scale_rewards",)

    zero_rewards: int = option(4, "Zeros beside the rewards of a group that is all right; 0: GRPO.", ge=0)
    max_zero_rewards: int | None = option(
        None, "Their number is drawn for each group, from zero_rewards to this one. None: no draw.", ge=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_zero_rewards is not None and self.max_zero_rewards < self.zero_rewards:
            raise ValueError(
                f"max_zero_rewards={self.max_zero_rewards} and zero_rewards={self.zero_rewards} are not allowed: "
                "write a max_zero_rewards of at least zero_rewards."
            )

    @property
    def trl_hooks(self) -> str | None:  # type: ignore[override]
        return None if self.max_zero_rewards is None else "echorl.trl.methods.added_failures:AddedFailuresHooks"

    @property
    def needs_verdicts(self) -> bool:
        return bool(self.max_zero_rewards or self.zero_rewards)

    def advantages(self, advantages: Tensor, rollouts: Rollouts) -> Tensor:
        """Return the advantages [N]; where numbers are drawn, the hooks change them."""
        if self.max_zero_rewards is not None:
            return advantages
        return self.with_zeros(advantages, rollouts, torch.full_like(rollouts.groups.kind, self.zero_rewards))

    def with_zeros(self, advantages: Tensor, rollouts: Rollouts, counts: Tensor) -> Tensor:
        """Return the advantages [N] with `counts` zeros, int64 [G], in the statistics of groups that are all right."""
        rows = rollouts.degenerate & rollouts.all_success & (counts > 0)[rollouts.groups.index]
        if not bool(rows.any()):
            return advantages
        places = torch.arange(int(counts.max()), device=counts.device)
        is_zero = places < counts[rollouts.groups.index].unsqueeze(1)
        zeros = torch.zeros_like(rollouts.rewards).unsqueeze(1).where(is_zero, torch.nan)
        return torch.where(rows, lengthened_advantages(rollouts, zeros), advantages.to(rollouts.rewards))
