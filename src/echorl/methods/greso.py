"""GRESO: prompts that were degenerate at their last visits are skipped, with a probability that adapts."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from echorl.core.options import option
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method

Kind = Literal["all_success", "all_fail"]
KINDS: tuple[Kind, ...] = ("all_success", "all_fail")

History = tuple[Kind, int]
"""The kind of a prompt's last visits, and their number in a row; a prompt whose last visit was mixed has none."""

LEAST = 0.01
"""Least probability of a visit."""


@register_method("greso")
@dataclass(frozen=True, kw_only=True)
class GRESO(GRPO):
    """GRPO with dynamic sampling, and prompts skipped that were all-success or all-fail last time (arXiv 2506.02177).

    After n such visits in a row a prompt is visited with the probability p^n, where p is one number for all-success and
    one for all-fail. Both adapt: a batch with too many groups of the kind lowers its p by `step`, others raise it.
    """

    addresses = MappingProxyType(
        {
            "all_success": "replaces it; skips the prompt ever more often",
            "all_fail": "replaces it; skips the prompt ever more often",
        }
    )

    visit_solved: float = option(0.5, "First p of prompts that were all-success; 1: none is skipped.", ge=0, le=1)
    visit_failed: float = option(0.5, "First p of prompts that were all-fail; 1: none is skipped.", ge=0, le=1)
    target: float = option(
        0.25, "Share of degenerate groups that p is moved towards: a third all-success, the rest all-fail.", ge=0, le=1
    )
    step: float = option(0.01, "Change of p after a batch; p stays from 0.05 to 0.95. 0: it keeps its value.", ge=0)
    dynamic_sampling: bool = option(
        True,
        "Replace groups without a mix of verdicts in further rounds, as `dapo` does. False: groups stay as they are.",
    )
    max_rounds: int = option(10, "Most rounds of sampling for a batch, the first included.", ge=1)

    needs_verdicts = True

    @property
    def trl_hooks(self) -> str:  # type: ignore[override]
        name = "SkippingRoundsHooks" if self.dynamic_sampling else "SkippingHooks"
        return f"echorl.trl.methods.greso:{name}"

    def visit_probability(self, p: float, visits: int) -> float:
        """Return the probability of a prompt's visit after so many degenerate visits of one kind in a row.

        >>> [GRESO().visit_probability(0.5, visits) for visits in (0, 1, 2, 10)]
        [1.0, 0.5, 0.25, 0.01]
        """
        return max(p**visits, LEAST)

    def after(self, previous: History | None, kind: Kind | None) -> History | None:
        """Return a prompt's history after a visit; `kind` is None unless the group was all-success or all-fail.

        >>> greso = GRESO()
        >>> greso.after(("all_fail", 2), "all_fail"), greso.after(("all_fail", 2), "all_success")
        (('all_fail', 3), ('all_success', 1))
        """
        if kind is None:
            return None
        return kind, previous[1] + 1 if previous and previous[0] == kind else 1

    def adapted(self, p: float, kind: Kind, num_kind: int, num_groups: int) -> float:
        """Return p after a batch with so many groups of its kind.

        >>> [round(GRESO().adapted(0.5, "all_success", number, 24), 2) for number in (1, 2)]
        [0.51, 0.49]
        >>> [round(GRESO().adapted(0.5, "all_fail", number, 24), 2) for number in (3, 4)]
        [0.51, 0.49]
        """
        if not self.step:
            return p
        share = self.target * (1 if kind == "all_success" else 2) / 3
        if num_kind >= share * num_groups:
            return max(p - self.step, 0.05)
        return min(p + self.step, 0.95)
