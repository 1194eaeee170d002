"""Success from the named verifiers' own rewards, never from the weighted sum of all reward functions."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.core.ledger import GroupKinds, classify_groups
from echorl.tasks.base import as_numbers

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the verifiers said of a generation batch, over all processes (N rollouts, in groups of equal size).

    Attributes:
        success: bool [N]; scored: bool [N], false where every verifier returned None.
        written: bool [N], false for a demonstration in a rollout's place.
        groups: int64 [N], the number of each rollout's group.
        kinds: the groups by kind, by the verdicts of what the policy wrote; `degenerate` by all rewards, of which the
            advantages are made.
    """

    success: Tensor
    scored: Tensor
    written: Tensor
    groups: Tensor
    kinds: GroupKinds

    @property
    def informative(self) -> Tensor:
        """float [N]: 1 where the rollout's group has a policy gradient (its rewards differ)."""
        return (~self.kinds.degenerate)[self.kinds.group].float()


def resolve_verifiers(names: list[str], available: list[str]) -> list[int]:
    """Columns of the reward functions that verify. With one function and no name given, that one.

    Raises:
        ValueError: a name does not exist, two functions share a name, or several functions and none named.
    """
    doubled = sorted({name for name in available if available.count(name) > 1})
    if doubled:
        raise ValueError(f"two reward functions are named {doubled[0]!r}: give each its own __name__.")
    if not names:
        if len(available) > 1:
            raise ValueError(
                f"which of the reward functions {', '.join(available)} verifies? Name it in echo_success_reward_func."
            )
        return [0]
    for name in names:
        if name not in available:
            raise ValueError(f"echo_success_reward_func={name!r} does not exist; there are: {', '.join(available)}.")
    return [available.index(name) for name in names]


def call_verifiers(trainer: EchoGRPOTrainer, example: dict[str, Any], completion: Any, ids: list[int]) -> bool:
    """What the verifiers say of one completion that the policy did not write; false if none has a verdict.

    Raises:
        ValueError: a verifier returned something that is no number.
    """
    columns = {
        name: [value] for name, value in example.items() if name not in ("prompt", "completion", "completion_ids")
    }
    columns |= {"trainer_state": trainer.state, "log_extra": _ignore, "log_metric": _ignore}
    verdicts = []
    for column in trainer.verifiers:
        function = trainer.reward_funcs[column]
        found = function(prompts=[example["prompt"]], completions=[completion], completion_ids=[ids], **columns)
        if inspect.isawaitable(found):
            found = asyncio.run_coroutine_threadsafe(found, trainer.async_loop).result()
        verdicts += [value for value in as_numbers(found) if value is not None]
    return bool(verdicts) and all(value >= trainer.echo.success_reward for value in verdicts)


def _ignore(*args: Any) -> None:
    """Stands for TRL's logging of what a reward function reports, which is about rollouts."""


def judge(
    rewards_per_func: Tensor,
    columns: list[int],
    *,
    success_reward: float,
    num_generations: int,
    advantages_from: Tensor,
    written: Tensor,
    kept: Tensor | None = None,
) -> Verdicts:
    """Verdicts from the gathered rewards [N, F] of all functions (NaN for None).

    A rollout succeeds if at least one of the verifiers in `columns` judged it and all that did gave at least
    `success_reward`. `advantages_from` is [N] or [N, F]: what the trainer makes advantages of. `written` is bool [N],
    the rollouts that the policy wrote; `kept` too, those that are not masked as truncated.
    """
    chosen = rewards_per_func[:, columns]
    judged = ~chosen.isnan()
    scored = judged.any(1)
    success = scored & ((chosen >= success_reward) | ~judged).all(1)
    groups = torch.arange(len(scored), device=scored.device) // num_generations
    kept = None if kept is None else kept & written
    kinds = classify_groups(success & written, scored & written, advantages_from, groups, kept=kept)
    return Verdicts(success=success, scored=scored, written=written, groups=groups, kinds=kinds)
