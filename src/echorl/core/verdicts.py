"""Verdicts from the rewards of the functions that verify."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def resolve_verifiers(
    names: Sequence[str], available: Sequence[str], *, option: str = "echo_success_reward_func"
) -> list[int]:
    """Return the columns of the reward functions that verify; without a name the only function's.

    Args:
        option: the setting that names them, for messages.

    Raises:
        ValueError: a name does not exist, two functions share a name, or several functions and none named.
    """
    duplicates = sorted({name for name in available if available.count(name) > 1})
    if duplicates:
        raise ValueError(f"two reward functions are named {duplicates[0]!r}: give each a different __name__.")
    if not names:
        if len(available) > 1:
            raise ValueError(f"which of the reward functions {', '.join(available)} verifies? Name it in {option}.")
        return [0]
    for name in names:
        if name not in available:
            raise ValueError(f"{option}={name!r} does not exist; there are: {', '.join(available)}.")
    return [available.index(name) for name in names]


def total_reward(rewards: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums [N] of the functions' rewards [N, F]; NaN where every function returned None."""
    total = (rewards * weights.to(rewards.device)).nansum(1)
    return total.masked_fill(rewards.isnan().all(1), torch.nan)


def check_finite(rewards: Tensor, names: Sequence[str]) -> None:
    """Refuse infinite rewards: the mean of the group would be infinite, and the other rollouts' advantages NaN or 0.

    Args:
        rewards: [N, F], NaN where a function returned None (or NaN, which trainers take for None).
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


def verdicts(rewards: Tensor, columns: list[int], success_reward: float) -> tuple[Tensor, Tensor]:
    """Return bool [N] twice, success and whether there is a verdict, from the rewards [N, F] of all functions.

    NaN stands for None. A rollout succeeds if at least one of the verifiers in `columns` gave it a verdict and all
    that did gave at least `success_reward`.
    """
    verifying = rewards[:, columns]
    is_none = verifying.isnan()
    has_verdict = ~is_none.all(1)
    return has_verdict & ((verifying >= success_reward) | is_none).all(1), has_verdict
