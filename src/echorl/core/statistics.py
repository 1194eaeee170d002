"""Group statistics: where the rollouts of a run went. Plain numbers, free of torch, so that reports load fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

KINDS = ("mixed", "all_success", "all_fail", "uniform_reward", "unscored", "truncated")
MEANING = {
    "mixed": "some verified, some not",
    "all_success": "all verified: what EchoRL is for",
    "all_fail": "none verified",
    "uniform_reward": "verdicts differ, rewards do not",
    "unscored": "no verifier gave a verdict",
    "truncated": "every rollout masked as truncated",
}


def _zeros() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


@dataclass
class GroupStatistics:
    """Groups and response tokens by kind, added up over a run.

    Attributes:
        groups: kind -> number of groups.
        tokens: kind -> response tokens of their rollouts.
        degenerate: kind -> number of groups whose rewards were all equal.
        filtered: groups and tokens that dynamic sampling kept out of the policy loss.
    """

    groups: dict[str, int] = field(default_factory=_zeros)
    tokens: dict[str, int] = field(default_factory=_zeros)
    degenerate: dict[str, int] = field(default_factory=_zeros)
    filtered: dict[str, int] = field(default_factory=lambda: {"groups": 0, "tokens": 0})

    def record(
        self,
        kinds: Sequence[int],
        degenerate: Sequence[bool],
        tokens: Sequence[int],
        filtered: Sequence[bool] | None = None,
    ) -> dict[str, float]:
        """Add a batch of groups and return its metrics: the share of groups, and of tokens, of each kind.

        Args:
            kinds: for each group, its place in `KINDS`.
            degenerate: for each group, whether all its rewards are equal.
            tokens: for each group, the response tokens of its rollouts.
            filtered: for each group, whether dynamic sampling keeps it out of the policy loss.
        """
        batch = GroupStatistics()
        rows = zip(kinds, degenerate, tokens, filtered or [False] * len(kinds), strict=True)
        for kind, is_degenerate, num_tokens, is_filtered in rows:
            name = KINDS[kind]
            batch.groups[name] += 1
            batch.degenerate[name] += is_degenerate
            batch.tokens[name] += num_tokens
            batch.filtered["groups"] += is_filtered
            batch.filtered["tokens"] += num_tokens * is_filtered
        self.add(batch)
        return batch.shares()

    def add(self, other: GroupStatistics) -> None:
        """Add the counts of other statistics to these."""
        for name, counts in vars(self).items():
            for key, count in getattr(other, name).items():
                counts[key] += count

    def shares(self) -> dict[str, float]:
        """Return the metrics of these counts: the share of groups, and of tokens, of each kind."""
        num_groups, num_tokens = max(1, self.num_groups), max(1, self.num_tokens)
        return {
            "echo/frac_degenerate": sum(self.degenerate.values()) / num_groups,
            **{f"echo/groups/{kind}": count / num_groups for kind, count in self.groups.items()},
            **{f"echo/tokens/{kind}": count / num_tokens for kind, count in self.tokens.items()},
        }

    def table(self) -> str:
        """Return the statistics as text, without kinds that never came up; one line where nothing was recorded."""
        total_groups, total_tokens = self.num_groups, self.num_tokens
        if not total_groups:
            return "group statistics: no group was recorded"
        head = f"{'group kind':<15}{'groups':>8}{'share':>8}{'no policy gradient':>20}{'tokens':>12}{'share':>8}"
        rows = [
            (name, self.groups[name], self.degenerate[name], self.tokens[name], MEANING[name])
            for name in KINDS
            if self.groups[name]
        ]
        groups, tokens = self.filtered["groups"], self.filtered["tokens"]
        if groups:
            rows.append(("of these", groups, groups, tokens, "filtered by dynamic sampling"))
        return "\n".join(
            [
                head,
                *(
                    f"{name:<15}{groups:>8}{groups / total_groups:>8.1%}{degenerate:>20}"
                    f"{tokens:>12}{tokens / max(1, total_tokens):>8.1%}  {meaning}"
                    for name, groups, degenerate, tokens, meaning in rows
                ),
            ]
        )

    @property
    def num_groups(self) -> int:
        """Groups of all kinds."""
        return sum(self.groups.values())

    @property
    def num_with_verdict(self) -> int:
        """Groups in which a verifier gave a verdict."""
        return self.num_groups - self.groups["unscored"]

    @property
    def num_tokens(self) -> int:
        """Response tokens of all groups."""
        return sum(self.tokens.values())

    def state_dict(self) -> dict[str, dict[str, int]]:
        return {name: dict(counts) for name, counts in vars(self).items()}

    def load_state_dict(self, state: dict[str, dict[str, int]]) -> None:
        for name, counts in vars(self).items():
            counts.update(state[name])
