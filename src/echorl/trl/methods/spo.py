"""SPO's hooks: the success rate of each prompt, tracked across its visits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.trl.batch import Capture, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import Row
from echorl.trl.sampling.demonstrations import check_column, require_column
from echorl.trl.sampling.memory import MemoryHooks
from echorl.trl.verifiers import Verifiers

Counts = tuple[float, float]
"""Successes and failures, as `SPO` weighs them."""


@dataclass(kw_only=True)
class RatePlan(Plan):
    """Attributes:
    starts: key -> counts before the first visit, where the rows hold offline rewards.
    """

    starts: dict[int, Counts] = field(default_factory=dict)


class TrackedRateHooks(MemoryHooks):
    """Remembers `Counts`, of earlier visits, and before the first one as the method says."""

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.success_reward = verifiers.success_reward
        if self.method.offline is not None:
            advice = "name a column with a list of rewards a row, or leave offline out"
            require_column("offline", self.method.offline, context, advice)
            check_column(self.method.offline, context, self._start)

    def _start(self, rewards: Any, place: str) -> Counts:
        """Return the counts before a prompt's first visit."""
        if not isinstance(rewards, list | None) or not all(
            isinstance(reward, (int, float)) for reward in rewards or []
        ):
            raise ValueError(
                f"{place}: {self.method.offline}={rewards!r} is no list of numbers: write the rewards of the row's "
                "rollouts, or null where there are none."
            )
        successes = sum(reward >= self.success_reward for reward in rewards or [])
        return self.method.before(successes, len(rewards or []) - successes)

    def plan(self, rows: list[Row], context: Context) -> RatePlan:
        plan = RatePlan(keys=super().plan(rows, context).keys)
        if self.method.offline is not None:
            starts = [self._start(example[self.method.offline], "a training row") for example in rows]
            gathered = context.comm.gather(torch.tensor(starts, device=context.comm.device))
            pairs = gathered[:: context.args.num_generations].tolist()
            plan.starts = {key: (first, second) for key, (first, second) in zip(plan.keys, pairs, strict=True)}
        return plan

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return verdict - baseline, and count the visit."""
        plan: Any = capture.plan
        counts = [self._counts(key, plan) for key in plan.keys]
        rates = torch.tensor([a / (a + c) if a + c else torch.nan for a, c in counts]).to(rollouts.rewards)
        self._log(rates, plan.keys, context)
        numbers = (rollouts.num_success.tolist(), rollouts.num_verdicts.tolist())
        for key, successes, number in zip(plan.keys, *numbers, strict=True):
            self.entries[key] = self.method.after(self._counts(key, plan), successes, number - successes)
        return self.method.against(rates[rollouts.groups.index], rollouts)

    def _counts(self, key: int, plan: RatePlan) -> Counts:
        return self.entries.get(key) or plan.starts.get(key) or self.method.before()

    def _log(self, rates: Tensor, keys: list[int], context: Context) -> None:
        visited = torch.tensor([key in self.entries for key in keys], device=rates.device) & ~rates.isnan()
        context.log.update({"method/tracked": float(visited.float().mean())})
        if visited.any():
            context.log.update({"method/tracked_rate": float(rates[visited].mean())})
