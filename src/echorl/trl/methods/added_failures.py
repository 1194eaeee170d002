"""Hooks of `added_failures`: a number of added failures drawn for each group."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks


class AddedFailuresHooks(MethodHooks):
    """Draws the numbers from the run's seed, the batch and the group: the same on all processes and after a resume."""

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        draws = random.Random(f"added failures {context.args.seed} {context.draw}")
        low, high = self.method.zero_rewards, self.method.max_zero_rewards
        counts = torch.tensor([draws.randint(low, high) for _ in range(len(rollouts.groups))])
        return self.method.with_zeros(advantages, rollouts, counts.to(advantages.device))
