"""Reinforce-Ada's hooks: further rounds of the same prompts, then a balanced choice from the pool of each."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from echorl.methods.reinforce_ada import balanced, choose, pool_advantages, unfinished
from echorl.trl.context import Context
from echorl.trl.methods.base import Row, Sample
from echorl.trl.sampling.rounds import Round, RoundsHooks


def groups_in_turn(prompts: list[int], num_generations: int, num_processes: int) -> list[int]:
    """Return the prompts, followed by the first ones again until the processes can share the rollouts evenly.

    >>> groups_in_turn([3, 5, 6], 2, 4), groups_in_turn([7], 1, 4)
    ([3, 5, 6, 3], [7, 7, 7, 7])
    """
    unit = num_processes // math.gcd(num_processes, num_generations)
    return [prompts[place % len(prompts)] for place in range(-(-len(prompts) // unit) * unit)]


class ReinforceAdaHooks(RoundsHooks):
    """Rounds of the batch's prompts.

    EchoRL mines the groups of all rounds; also a rollout that is not chosen can give a clip.
    """

    once: ClassVar = {"max_rounds": 1, "groups_per_round": 1}

    def collect(self, rows: list[Row], sample: Sample, context: Context) -> dict[str, Any]:
        # Copies, since TRL writes the fields of a rollout_func into a row: each rollout and each round needs its own.
        all_rows = context.comm.gather_objects(rows)
        self.prompts = [dict(row) for row in all_rows[:: context.args.num_generations]]
        self.asked: list[list[int]] = []  # the prompts of each round's groups
        return super().collect(rows, sample, context)

    def pools(self, rounds: list[Round], context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """Return bool [M] twice and int64 [M], of the rollouts of all rounds: success, failure, and the prompt.

        Rollouts without a verdict, and those outside the loss, have neither success nor failure.
        """
        success = torch.cat([each.sampled.rollouts.success for each in rounds])
        in_loss = [context.comm.gather(each.sampled.batch["completion_mask"].any(1)) for each in rounds]
        counted = torch.cat([each.sampled.rollouts.has_verdict for each in rounds]) & torch.cat(in_loss)
        groups = torch.tensor([prompt for asked in self.asked for prompt in asked], device=success.device)
        return success & counted, ~success & counted, groups.repeat_interleave(context.args.num_generations)

    def next_rows(self, rounds: list[Round], rows: list[Row], context: Context) -> list[Row]:
        if not rounds:
            prompts = list(range(len(self.prompts)))
            if self.method.groups_per_round > 1:
                return self._rows_of(prompts, context)
            self.asked.append(prompts)
            return rows
        if len(rounds) >= self.method.max_rounds:
            return []
        prompts = unfinished(*self.pools(rounds, context), context.args.num_generations)
        return self._rows_of(prompts, context) if prompts else []

    def _rows_of(self, prompts: list[int], context: Context) -> list[Row]:
        """Return this process's rows of a round of these prompts."""
        comm, generations = context.comm, context.args.num_generations
        groups = [prompt for prompt in prompts for _ in range(self.method.groups_per_round)]
        self.asked.append(groups_in_turn(groups, generations, comm.num_ranks))
        rows = [dict(self.prompts[prompt]) for prompt in self.asked[-1] for _ in range(generations)]
        size = len(rows) // comm.num_ranks
        return rows[comm.rank * size :][:size]

    def metrics(self, rounds: list[Round], num_groups: int, context: Context) -> dict[str, float]:
        is_balanced = balanced(*self.pools(rounds, context), context.args.num_generations)
        return {
            "rounds": len(rounds),
            "num_sampled_groups": sum(map(len, self.asked)),
            "balanced": float(is_balanced.float().mean()),
        }

    def choose(self, rounds: list[Round], context: Context) -> list[Round]:
        """Return the rounds with the choice from every pool, and advantages by its mean and std."""
        if sum(map(len, self.asked)) == len(self.prompts):
            return rounds
        success, failure, prompt = self.pools(rounds, context)
        chosen = choose(success, failure, prompt, context.args.num_generations)
        rewards = torch.cat([each.sampled.rollouts.rewards for each in rounds])
        advantages = pool_advantages(rewards, prompt, scale=context.args.scale_rewards != "none")
        context.log.replace_advantages(advantages.where(chosen, 0.0))
        numbers = [each.accepted.numel() for each in rounds]
        parts = zip(rounds, chosen.split(numbers), advantages.split(numbers), strict=True)
        return [_with(*part, rank=context.comm.rank) for part in parts]


def _with(each: Round, chosen: Tensor, advantages: Tensor, *, rank: int) -> Round:
    """Return the round with other rollouts accepted and other advantages."""
    local = advantages.view(each.accepted.shape)[rank]
    rows = {**each.rows, "advantages": local.to(each.rows["advantages"])}
    if "echo_has_gradient" in rows:
        rows["echo_has_gradient"] = ((local != 0) & rows["completion_mask"].any(1)).float()
    return replace(each, rows=rows, accepted=chosen.view(each.accepted.shape))
