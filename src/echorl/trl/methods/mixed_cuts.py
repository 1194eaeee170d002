"""Hooks of Mixed-CUTS: the last rollouts of each group are sampled uniformly from the candidates."""

from __future__ import annotations

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.methods.mixed_cuts import MixedCUTS, uniform_candidates
from echorl.trl.batch import Capture, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.sampling.processors import check_processors
from echorl.trl.verifiers import Verifiers


class UniformCandidates:
    """A logits processor: in some rows uniform over the candidates, after the first tokens."""

    def __init__(self, rows: list[int], method: MixedCUTS) -> None:
        self.rows, self.method = rows, method
        self.num_tokens = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.num_tokens += 1
        if self.num_tokens <= self.method.first_tokens:
            return scores
        rows = torch.tensor(self.rows, device=scores.device)
        uniform = uniform_candidates(scores[rows], self.method.top_k, self.method.min_probability)
        return scores.index_copy(0, rows, uniform)


class MixedCUTSHooks(MethodHooks):
    """Gives `generate` a processor for the rows that are sampled uniformly; nothing else changes."""

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.size = context.args.num_generations
        self.num_usual = self.size - self.method.num_uniform(self.size)
        if self.num_usual < self.size:
            check_processors(context)

    def plan(self, rows: list[Row], context: Context) -> Plan:
        first = context.comm.rank * len(rows)
        uniform = [row for row in range(len(rows)) if (first + row) % self.size >= self.num_usual]
        return Plan(processors=[UniformCandidates(uniform, self.method)] if uniform else [])

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages unchanged; log the mean reward of either kind of rollout."""
        rewards = rollouts.rewards.view(-1, self.size)
        for name, kind in (("usual", rewards[:, : self.num_usual]), ("uniform", rewards[:, self.num_usual :])):
            if not bool(kind.isnan().all()):
                context.log.update({f"method/{name}_reward": float(kind.nanmean())})
        return advantages
