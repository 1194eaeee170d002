"""Group statistics: where the rollouts of a run went. Plain numbers, free of torch, so that reports load fast.

The rules of a group hold for numbers, numpy arrays and tensors alike: trainers and `echorl audit` share them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

KINDS = ("mixed", "all_success", "all_fail", "uniform_reward", "unscored", "truncated")
MEANING = {
    "mixed": "some verified, some not",
    "all_success": "all verified: what EchoRL is for",
    "all_fail": "none verified",
    "uniform_reward": "verdicts differ, rewards do not",
    "unscored": "no verifier gave a verdict",
    "truncated": "every rollout masked as truncated",
}
ENOUGH_GROUPS = 8
"""Groups without a success after which the threshold of success is in doubt."""
GROUPS_WITH_GRADIENT = "echo/groups_with_gradient"
"""The metric that is a count: a batch of several rounds of sampling has their sum."""


def kind_of(successes: Any, verdicts: Any, degenerate: Any, kept: Any = 1) -> Any:
    """Return the place in `KINDS` of a group, or of each group of an array.

    Args:
        successes: rollouts that the verifier accepted.
        verdicts: rollouts with a verdict.
        degenerate: whether all rewards are equal.
        kept: rollouts that are not masked as truncated.

    >>> [KINDS[kind_of(successes, 8, degenerate=False)] for successes in (0, 3, 8)]
    ['all_fail', 'mixed', 'all_success']
    """
    kind = 0 * verdicts
    for name, holds in (  # a later one goes before
        ("uniform_reward", degenerate),
        ("all_success", successes == verdicts),
        ("all_fail", successes == 0),
        ("unscored", verdicts == 0),
        ("truncated", kept == 0),
    ):
        kind = kind + (KINDS.index(name) - kind) * holds
    return kind


def are_equal(least: Any, most: Any) -> Any:
    """Return whether rewards between `least` and `most` are equal up to rounding, as eight rewards of 0.9 may be."""
    return least >= most - 1e-6 * (1 + abs(most))


def batch_metrics(
    kinds: Sequence[int], degenerate: Sequence[bool], tokens: Sequence[int], filtered: Sequence[bool]
) -> dict[str, float]:
    """Return the shares of groups and of tokens, by kind and without a gradient, and how many groups have one.

    The arguments are those of `GroupStatistics.record`.
    """
    num_groups, num_tokens = max(1, len(kinds)), max(1, sum(tokens))
    metrics = {
        "echo/frac_degenerate": sum(degenerate) / num_groups,
        "echo/frac_degenerate_tokens": sum(compress(tokens, degenerate)) / num_tokens,
        GROUPS_WITH_GRADIENT: float(sum(not any(flags) for flags in zip(degenerate, filtered, strict=True))),
    }
    for code, name in enumerate(KINDS):
        of_kind = [kind == code for kind in kinds]
        metrics[f"echo/groups/{name}"] = sum(of_kind) / num_groups
        metrics[f"echo/tokens/{name}"] = sum(compress(tokens, of_kind)) / num_tokens
    return metrics


def _zeros() -> dict[str, int]:
    return dict.fromkeys(KINDS, 0)


def audit_line(log: str | Path) -> str:
    """Return the line with the command that reads a run's log, for the end of the run."""
    return f"What it lost on groups without a gradient: echorl audit {shlex.quote(str(log))}"


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
        """Add a batch of groups and return its metrics (`batch_metrics`).

        Args:
            kinds: for each group, its place in `KINDS`.
            degenerate: for each group, whether all its rewards are equal.
            tokens: for each group, the response tokens of its rollouts.
            filtered: for each group, whether dynamic sampling keeps it out of the policy loss.
        """
        filtered = filtered or [False] * len(kinds)
        for kind, is_degenerate, num_tokens, is_filtered in zip(kinds, degenerate, tokens, filtered, strict=True):
            name = KINDS[kind]
            self.groups[name] += 1
            self.degenerate[name] += is_degenerate
            self.tokens[name] += num_tokens
            self.filtered["groups"] += is_filtered
            self.filtered["tokens"] += num_tokens * is_filtered
        return batch_metrics(kinds, degenerate, tokens, filtered)

    def table(self) -> str:
        """Return the statistics as text, without kinds that never came up; one line where nothing was recorded."""
        total_groups, total_tokens = self.num_groups, self.num_tokens
        if not total_groups:
            return "group statistics: no group was recorded"
        head = f"{'group kind':<15}{'groups':>8}{'share':>8}{'equal rewards':>20}{'tokens':>12}{'share':>8}"
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

    def unreached(self, least: float, largest: float, success_reward: float, option: str) -> str | None:
        """Return a warning where no rollout has succeeded in some groups, though rewards differ; else None.

        Args:
            least, largest: of the verifier's rewards in the last batch.
            option: what the trainer calls `success_reward`.
        """
        successes = sum(self.groups[kind] for kind in ("mixed", "all_success", "uniform_reward"))
        if successes or self.num_groups < ENOUGH_GROUPS or are_equal(least, largest) or largest >= success_reward:
            return None
        return (
            f"no rollout of {self.num_groups} groups has succeeded: the largest reward was {largest:g}, and "
            f"{option} is {success_reward:g}. If {largest:g} is a success, set {option}={largest:g}."
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
