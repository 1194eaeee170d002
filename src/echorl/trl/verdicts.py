"""Success from the named verifiers' own rewards, never from the weighted sum of all reward functions."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.tasks.base import as_numbers

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


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


def check_finite(rewards: Tensor, names: list[str]) -> None:
    """See that no reward is infinite: the mean of its group would be, too, and the advantages of the others NaN or 0.

    Args:
        rewards: [N, F], NaN where a function returned None (or NaN, which TRL takes for None).
        names: of the F functions.

    Raises:
        ValueError: one is; the message names the function and the value.
    """
    for name, column in zip(names, rewards.unbind(1), strict=True):
        if bool(column.isinf().any()):
            value = float(column[column.isinf()][0])
            raise ValueError(
                f"reward function {name!r} returned {value} (or a number too large for float32): make it return a "
                "finite number, or None where it has no verdict."
            )


def call_verifiers(trainer: EchoGRPOTrainer, example: dict[str, Any], completion: Any, ids: list[int]) -> bool:
    """What the verifiers say of one completion that the policy did not write; false if none has a verdict.

    Raises:
        ValueError: a verifier returned something that is no number.
    """
    columns = {
        name: [value] for name, value in example.items() if name not in ("prompt", "completion", "completion_ids")
    }
    columns |= {"trainer_state": trainer.state, "log_extra": _ignore, "log_metric": _ignore}
    given: list[float] = []
    for column in trainer.verifiers:
        function = trainer.reward_funcs[column]
        found = function(prompts=[example["prompt"]], completions=[completion], completion_ids=[ids], **columns)
        if inspect.isawaitable(found):
            found = asyncio.run_coroutine_threadsafe(found, trainer.async_loop).result()
        values = [value for value in as_numbers(found) if value is not None]
        check_finite(torch.tensor(values, dtype=torch.float32).unsqueeze(1), [trainer.reward_func_names[column]])
        given += values
    return bool(given) and all(value >= trainer.echo.success_reward for value in given)


def _ignore(*args: Any) -> None:
    """Stands for TRL's logging of what a reward function reports, which is about rollouts."""


def verdicts(rewards: Tensor, columns: list[int], success_reward: float) -> tuple[Tensor, Tensor]:
    """Return bool [N] twice, success and whether there is a verdict, from the rewards [N, F] of all functions.

    NaN stands for None. A rollout succeeds if at least one of the verifiers in `columns` gave it a verdict and all
    that did gave at least `success_reward`.
    """
    chosen = rewards[:, columns]
    given = ~chosen.isnan()
    has_verdict = given.any(1)
    return has_verdict & ((chosen >= success_reward) | ~given).all(1), has_verdict
