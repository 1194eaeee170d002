"""The rules of a method applied to a batch, with checks of their results."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method


def apply_advantages(method: Method, advantages: Tensor, rollouts: Rollouts) -> Tensor:
    """Return the method's advantages [N], given the trainer's.

    Raises:
        ValueError: the rule returned no tensor of this shape, or a number that is not finite.
    """
    changed = method.advantages(advantages, rollouts)
    if changed is advantages:
        return advantages
    return _checked(method, "advantages", changed, advantages, advantages.shape)


def apply_token_advantages(method: Method, advantages: Tensor, entropy: Tensor, rollouts: Rollouts) -> Tensor:
    """Return the method's advantages [B, T], given those of the rollouts.

    Raises:
        ValueError: as `apply_advantages`.
    """
    changed = method.token_advantages(advantages, entropy, rollouts)
    return _checked(method, "token_advantages", changed, advantages, entropy.shape)


def excluded_rows(method: Method, rollouts: Rollouts) -> Tensor:
    """Return bool [N], the rollouts that the method excludes from the loss.

    Raises:
        ValueError: the rule returned no tensor of this shape.
    """
    return _checked(method, "excluded", method.excluded(rollouts), rollouts.success, rollouts.success.shape)


def rows_with_gradient(method: Method, advantages: Tensor, rollouts: Rollouts) -> Tensor:
    """Return bool [N], the rollouts to which the method gives a policy gradient, given the trainer's advantages.

    In a group of equal rewards the trainer's advantages can differ from 0 by rounding: here they are exactly 0.
    """
    return method.advantages(advantages.masked_fill(rollouts.degenerate, 0.0), rollouts) != 0


def _checked(method: Method, rule: str, value: Any, like: Tensor, shape: torch.Size) -> Tensor:
    name = f"{type(method).__name__}.{rule}"
    if not isinstance(value, Tensor) or value.shape != shape:
        returned = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
        raise ValueError(f"{name} returned {returned}: it must return a tensor of shape {list(shape)}.")
    if not bool(value.isfinite().all()):
        row = int((~value.isfinite()).nonzero()[0, 0])
        raise ValueError(
            f"{name} returned {float(value[row].flatten()[~value[row].flatten().isfinite()][0])} for rollout {row}: "
            "every number must be finite; write 0 where a rollout has no reward (NaN in `rewards`)."
        )
    return value.to(like)
