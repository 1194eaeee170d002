"""Reinforce-Ada's part: the same prompts in further rounds, then a balanced choice from each one's pool."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from accelerate.utils import gather_object
from torch import Tensor

from echorl.core.groups import Groups
from echorl.methods.base import Batch
from echorl.methods.reinforce_ada import balanced, choose, pool_advantages, unfinished
from echorl.trl.parts.left_out import log_advantages
from echorl.trl.parts.rounds import Round, Rounds


def groups_in_turn(prompts: list[int], num_generations: int, num_processes: int) -> list[int]:
    """The prompts, and as many of them again from the first on as make their rollouts even for the processes.

    >>> groups_in_turn([3, 5, 6], 2, 4), groups_in_turn([7], 1, 4)
    ([3, 5, 6, 3], [7, 7, 7, 7])
    """
    unit = num_processes // math.gcd(num_processes, num_generations)
    return [prompts[place % len(prompts)] for place in range(-(-len(prompts) // unit) * unit)]


class ReinforceAda(Rounds):
    """Rounds of the batch's own prompts.

    The groups of all rounds are EchoRL's prompts: each can give its clip, also a rollout that is not chosen.
    """

    once: ClassVar = {"max_rounds": 1, "groups_per_round": 1}

    def collect(self, inputs: list[dict[str, Any]], sample: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> Any:
        # Copies: TRL writes what a rollout_func returns into a row, so none may stand for two, or carry it to a round.
        self.prompts = [dict(row) for row in gather_object(inputs)[:: self.trainer.num_generations]]
        self.asked: list[list[int]] = []  # the prompts of each round's groups
        self.scored: list[Batch] = []  # each round's, over all processes
        self.in_loss: list[Tensor] = []  # bool, its rollouts that the loss counts
        return super().collect(inputs, sample)

    def dropped(self, groups: Groups) -> Tensor:
        self.kept_groups = torch.ones_like(groups.degenerate)  # which rollouts are chosen shows at the end
        return ~self.kept_groups

    def judged(self, advantages: Tensor, batch: Batch) -> Tensor:
        self.scored.append(batch)
        return advantages

    def annotate(self, out: dict[str, Any]) -> None:
        self.in_loss.append(self.trainer.accelerator.gather(out["completion_mask"].any(1)))

    def _right_and_wrong(self) -> tuple[Tensor, Tensor]:
        """bool [M] twice, of all rounds: verified rollouts in the loss that succeeded, and that failed."""
        success = torch.cat([batch.success for batch in self.scored])
        known = torch.cat([batch.scored for batch in self.scored]) & torch.cat(self.in_loss)
        return success & known, ~success & known

    def _owner(self) -> Tensor:
        """int64 [M]: the prompt of each rollout of all rounds."""
        groups = torch.tensor([prompt for asked in self.asked for prompt in asked], device=self.scored[0].groups.device)
        return groups.repeat_interleave(self.trainer.num_generations)

    def _unfinished(self) -> list[int]:
        return unfinished(*self._right_and_wrong(), self._owner(), self.trainer.num_generations)

    def _first(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        prompts = list(range(len(self.prompts)))
        if self.trainer.method.groups_per_round > 1:
            return self._rows_of(prompts)
        self.asked.append(prompts)
        return inputs

    def _next(self, rounds: list[Round], size: int, columns: list[str]) -> list[dict[str, Any]]:
        prompts = self._unfinished()
        if len(rounds) >= self.trainer.method.max_rounds or not prompts:
            return []
        return self._rows_of(prompts)

    def _rows_of(self, prompts: list[int]) -> list[dict[str, Any]]:
        """This process's rows of a round of these prompts."""
        processes, generations = self.trainer.accelerator.num_processes, self.trainer.num_generations
        groups = [prompt for prompt in prompts for _ in range(self.trainer.method.groups_per_round)]
        self.asked.append(groups_in_turn(groups, generations, processes))
        rows = [dict(self.prompts[prompt]) for prompt in self.asked[-1] for _ in range(generations)]
        here = len(rows) // processes
        return rows[self.trainer.accelerator.process_index * here :][:here]

    def _log(self, rounds: list[Round], size: int) -> None:
        counts = {"rounds": len(rounds), "num_sampled_groups": sum(map(len, self.asked))}
        both = balanced(*self._right_and_wrong(), self._owner(), self.trainer.num_generations)
        counts["balanced"] = float(both.float().mean())
        for name, count in counts.items():
            self.trainer.add_metric(name, float(count), family="method")

    def _assemble(self, rounds: list[Round], size: int) -> dict[str, Any]:
        if sum(map(len, self.asked)) > len(self.prompts):
            rounds = self._chosen(rounds)
        return super()._assemble(rounds, size)

    def _chosen(self, rounds: list[Round]) -> list[Round]:
        """The rounds with the choice from every pool, and advantages by its mean and std."""
        owner, numbers = self._owner(), [each.accepted.numel() for each in rounds]
        chosen = choose(*self._right_and_wrong(), owner, self.trainer.num_generations)
        rewards, scale = torch.cat([batch.rewards for batch in self.scored]), self.trainer.scale_rewards != "none"
        advantages = pool_advantages(rewards, owner, scale=scale)
        log_advantages(self.trainer, advantages.where(chosen, 0.0))
        parts = zip(rounds, chosen.split(numbers), advantages.split(numbers), strict=True)
        return [self._with(*part) for part in parts]

    def _with(self, each: Round, chosen: Tensor, advantages: Tensor) -> Round:
        own = advantages.view(each.accepted.shape)[self.trainer.accelerator.process_index]
        rows = {**each.rows, "advantages": own.to(each.rows["advantages"])}
        if "echo_informative" in rows:
            rows["echo_informative"] = ((own != 0) & rows["completion_mask"].any(1)).float()
        return replace(each, rows=rows, accepted=chosen.view(each.accepted.shape))
