"""The group ledger: where the rollouts went. Verdicts, rewards and lengths -> groups by kind, tokens by kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

KINDS = ("mixed", "all_success", "all_fail", "uniform_reward", "unscored", "truncated")
MEANING = {
    "mixed": "some verified, some not",
    "all_success": "all verified: what EchoRL is for",
    "all_fail": "none verified",
    "uniform_reward": "verdicts differ, rewards do not",
    "unscored": "no verifier gave a verdict",
    "truncated": "every rollout masked as truncated",
}


@dataclass(frozen=True, eq=False)
class GroupKinds:
    """One entry a group (G of them, in order of their ids).

    Attributes:
        kind: int64 [G], index into `KINDS`, by the verifier's verdicts.
        degenerate: bool [G], true where all rewards are equal: the group has no policy gradient.
        group: int64 [N], each rollout's position in these two.
    """

    kind: Tensor
    degenerate: Tensor
    group: Tensor

    def share(self, name: str) -> float:
        """The share of groups of kind `name`; 0 where there is no group."""
        return float((self.kind == KINDS.index(name)).float().mean()) if self.kind.numel() else 0.0


def classify_groups(
    success: Tensor, scored: Tensor, rewards: Tensor, group_ids: Tensor, *, kept: Tensor | None = None
) -> GroupKinds:
    """Sort groups into kinds.

    Args:
        success: bool [N], the verdict; scored: bool [N], false where no verifier gave one.
        rewards: float [N] or [N, F]: what the advantages are made of (the weighted sum, or every function's rewards
            where they are normalised one by one). NaN where there is none.
        group_ids: int [N], equal for the rollouts of one prompt.
        kept: bool [N], false where the rollout is masked as truncated.

    Raises:
        ValueError: a group id is NaN.
    """
    group, num = number_groups(group_ids)
    verdicts = _count(scored, group, num)
    wins = _count(success & scored, group, num)
    degenerate = _uniform(rewards if rewards.dim() == 2 else rewards.unsqueeze(1), group, num)
    kind = torch.where(degenerate, KINDS.index("uniform_reward"), KINDS.index("mixed"))
    kind = torch.where(wins == verdicts, KINDS.index("all_success"), kind)
    kind = torch.where(wins == 0, KINDS.index("all_fail"), kind)
    kind = torch.where(verdicts == 0, KINDS.index("unscored"), kind)
    if kept is not None:
        kind = torch.where(_count(kept, group, num) == 0, KINDS.index("truncated"), kind)
    return GroupKinds(kind=kind, degenerate=degenerate, group=group)


def number_groups(group_ids: Tensor) -> tuple[Tensor, int]:
    """Number the groups from 0 in order of their ids: (int64 [N], each rollout's group; how many groups there are).

    Raises:
        ValueError: an id is NaN, which equals no other, so that no two rollouts would share a group.
    """
    if group_ids.is_floating_point() and bool(group_ids.isnan().any()):
        raise ValueError(
            "a group id is NaN, which equals no other id: give the rollouts of a prompt the same whole number."
        )
    ids, group = torch.unique(group_ids, return_inverse=True)
    return group, ids.numel()


def _count(flags: Tensor, group: Tensor, num: int) -> Tensor:
    return torch.zeros(num, dtype=torch.int64, device=group.device).scatter_add_(0, group, flags.long())


def _uniform(rewards: Tensor, group: Tensor, num: int) -> Tensor:
    """bool [G]: every column's rewards agree up to rounding (eight rewards of 0.9 may differ in the last digit)."""
    index = group.unsqueeze(1).expand_as(rewards)
    least, most = (
        torch.full((num, rewards.shape[1]), fill, dtype=rewards.dtype, device=rewards.device).scatter_reduce_(
            0, index, rewards.nan_to_num(nan=fill), reduce=reduce
        )
        for fill, reduce in ((torch.inf, "amin"), (-torch.inf, "amax"))
    )
    return (most - least <= 1e-6 * (1 + most.abs()).nan_to_num()).all(1) | (most == -torch.inf).all(1)


@dataclass
class GroupLedger:
    """Groups and response tokens by kind, added up over a run; and how many groups had all rewards equal.

    `dropped` are those of them, groups and tokens, that a filter left out of the policy loss.
    """

    groups: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    degenerate: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    dropped: dict[str, int] = field(default_factory=lambda: {"groups": 0, "tokens": 0})

    def record(self, kinds: GroupKinds, lengths: Tensor, *, dropped: Tensor | None = None) -> dict[str, float]:
        """Add a batch; `lengths` [N] are the rollouts' response tokens. Returns the batch's shares by kind.

        `dropped` is bool [G], the groups that a filter left out of the policy loss.
        """
        per_group = torch.zeros_like(kinds.kind).scatter_add_(0, kinds.group, lengths.long())
        shares = {}
        for code, name in enumerate(KINDS):
            here = kinds.kind == code
            num_tokens = int(per_group[here].sum())
            self.groups[name] += int(here.sum())
            self.degenerate[name] += int(kinds.degenerate[here].sum())
            self.tokens[name] += num_tokens
            shares[f"groups/{name}"] = kinds.share(name)
            shares[f"tokens/{name}"] = num_tokens / max(1, int(per_group.sum()))
        if dropped is not None:
            self.dropped["groups"] += int(dropped.sum())
            self.dropped["tokens"] += int(per_group[dropped].sum())
        return shares

    def table(self) -> str:
        """The ledger as text, kinds that never came up left out; one line where nothing was recorded."""
        total_groups, total_tokens = sum(self.groups.values()), sum(self.tokens.values())
        if not total_groups:
            return "group ledger: no group was recorded"
        head = f"{'group kind':<15}{'groups':>8}{'share':>8}{'no policy gradient':>20}{'tokens':>12}{'share':>8}"
        rows = [self._row(name, total_groups, max(1, total_tokens)) for name in KINDS if self.groups[name]]
        return "\n".join([head, *rows, *self._dropped_row(total_groups, max(1, total_tokens))])

    def _row(self, name: str, total_groups: int, total_tokens: int) -> str:
        groups, tokens = self.groups[name], self.tokens[name]
        return (
            f"{name:<15}{groups:>8}{groups / total_groups:>8.1%}{self.degenerate[name]:>20}"
            f"{tokens:>12}{tokens / total_tokens:>8.1%}  {MEANING[name]}"
        )

    def _dropped_row(self, total_groups: int, total_tokens: int) -> list[str]:
        groups, tokens = self.dropped["groups"], self.dropped["tokens"]
        row = (
            f"{'of these':<15}{groups:>8}{groups / total_groups:>8.1%}{groups:>20}"
            f"{tokens:>12}{tokens / total_tokens:>8.1%}  dropped by dynamic sampling"
        )
        return [row] if groups else []

    @property
    def num_scored(self) -> int:
        """Groups in which a verifier gave a verdict."""
        return sum(self.groups.values()) - self.groups["unscored"]

    @property
    def num_tokens(self) -> int:
        """Response tokens of all groups."""
        return sum(self.tokens.values())

    def state_dict(self) -> dict[str, dict[str, int]]:
        return {name: dict(getattr(self, name)) for name in ("groups", "tokens", "degenerate", "dropped")}

    def load_state_dict(self, state: dict[str, dict[str, int]]) -> None:
        self.groups.update(state["groups"])
        self.tokens.update(state["tokens"])
        self.degenerate.update(state["degenerate"])
        self.dropped.update(state.get("dropped", {}))  # written before there was a filter
