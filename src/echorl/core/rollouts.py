"""`Rollouts`: a scored generation batch, whoever sampled it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.core.groups import Groups, classify_groups


@dataclass(frozen=True, eq=False, kw_only=True)
class Rollouts:
    """N rollouts of all processes in whole groups, and the tokens of the B rollouts of this process.

    Attributes:
        rewards: float [N], the weighted sums of all reward functions; NaN where there is none.
        success: bool [N], the verifier's verdict; false without one.
        has_verdict: bool [N], false where no verifier gave a verdict.
        from_policy: bool [N], false for a text in the place of a rollout that the policy did not sample for the
            prompt alone, such as a demonstration.
        groups: the groups, by kind; such a text does not count in them.
        local: this process's rows among the N.
        token_ids: int64 [B, T], the responses.
        in_loss: bool [B, T], the policy's own tokens that the policy loss counts.
    """

    rewards: Tensor
    success: Tensor
    has_verdict: Tensor
    from_policy: Tensor
    groups: Groups
    local: slice
    token_ids: Tensor
    in_loss: Tensor

    @classmethod
    def build(
        cls,
        *,
        rewards: Tensor,
        success: Tensor,
        has_verdict: Tensor,
        group_ids: Tensor,
        token_ids: Tensor,
        in_loss: Tensor,
        from_policy: Tensor | None = None,
        local: slice | None = None,
        compared: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> Rollouts:
        """Return the rollouts with their groups sorted into kinds.

        Args:
            group_ids: int [N], equal for the rollouts of one prompt.
            from_policy: all are, if not given.
            local: all N rows, if not given.
            compared: float [N] or [N, F], the rewards that advantages are made of; `rewards` if not given.
            kept: bool [N], false where the rollout is masked as truncated.
        """
        from_policy = torch.ones_like(success) if from_policy is None else from_policy
        groups = classify_groups(
            success & from_policy,
            has_verdict & from_policy,
            rewards if compared is None else compared,
            group_ids,
            kept=None if kept is None else kept & from_policy,
        )
        return cls(
            rewards=rewards,
            success=success & has_verdict,
            has_verdict=has_verdict,
            from_policy=from_policy,
            groups=groups,
            local=slice(0, len(success)) if local is None else local,
            token_ids=token_ids,
            in_loss=in_loss,
        )

    @property
    def degenerate(self) -> Tensor:
        """bool [N]: all rewards of the rollout's group are equal."""
        return self.groups.degenerate[self.groups.index]

    @property
    def all_success(self) -> Tensor:
        """bool [N]: the rollout has a verdict, and every verdict of its group is a success."""
        return self.of_kind("all_success") & self.has_verdict

    @property
    def all_fail(self) -> Tensor:
        """bool [N]: the rollout has a verdict, and every verdict of its group is a failure."""
        return self.of_kind("all_fail") & self.has_verdict

    def of_kind(self, *names: str) -> Tensor:
        """bool [N]: the rollout's group is of one of these kinds."""
        return self.groups.of_kind(*names)[self.groups.index]

    @property
    def num_success(self) -> Tensor:
        """int64 [G]: the rollouts of each group that succeeded."""
        return self.groups.sum(self.success)

    @property
    def num_verdicts(self) -> Tensor:
        """int64 [G]: the rollouts of each group that have a verdict."""
        return self.groups.sum(self.has_verdict)
