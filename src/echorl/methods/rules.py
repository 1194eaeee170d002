"""The rules of a method applied to a batch, with checks of their results."""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method


def apply_advantages(method: Method, advantages: Tensor, rollouts: Rollouts) -> Tensor:
    """Return the method's advantages [N], given the trainer's.

    Raises:
        ValueError: the rule raised an error, or returned no tensor of this shape or a number that is not finite.
    """
    changed = _call(method, "advantages", advantages, rollouts)
    if changed is advantages:
        return advantages
    return _checked(method, "advantages", changed, advantages, advantages.shape)


def apply_token_advantages(method: Method, advantages: Tensor, entropy: Tensor, rollouts: Rollouts) -> Tensor:
    """Return the method's advantages [B, T], given those of the rollouts.

    Raises:
        ValueError: as `apply_advantages`.
    """
    changed = _call(method, "token_advantages", advantages, entropy, rollouts)
    return _checked(method, "token_advantages", changed, advantages, entropy.shape)


def excluded_rows(method: Method, rollouts: Rollouts) -> Tensor:
    """Return bool [N], the rollouts that the method excludes from the loss.

    Raises:
        ValueError: the rule raised an error, or returned no tensor of this shape.
    """
    return _checked(method, "excluded", _call(method, "excluded", rollouts), rollouts.success, rollouts.success.shape)


def try_rules(method: Method) -> None:
    """Apply a method's rules to a batch with a group of each kind, so that their errors come before any training.

    Raises:
        ValueError: a rule fails, or returns what cannot be an advantage.
    """
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    rollouts = Rollouts.build(
        rewards=rewards,
        success=rewards > 0,
        has_verdict=torch.ones(6, dtype=torch.bool),
        group_ids=torch.tensor([0, 0, 1, 1, 2, 2]),
        token_ids=torch.zeros(6, 4, dtype=torch.int64),
        in_loss=torch.ones(6, 4, dtype=torch.bool),
    )
    advantages = apply_advantages(method, torch.tensor([0.7, -0.7, 0.0, 0.0, 0.0, 0.0]), rollouts)
    excluded_rows(method, rollouts)
    if method.changes_tokens:
        apply_token_advantages(method, advantages, torch.ones(6, 4), rollouts)


def rows_with_gradient(method: Method, advantages: Tensor, rollouts: Rollouts) -> Tensor:
    """Return bool [N], the rollouts to which the method gives a policy gradient, given the trainer's advantages.

    In a group of equal rewards the trainer's advantages can differ from 0 by rounding: here they are exactly 0.
    """
    return _call(method, "advantages", advantages.masked_fill(rollouts.degenerate, 0.0), rollouts) != 0


def _call(method: Method, rule: str, *arguments: Any) -> Any:
    """Return what a rule returns; an error in a rule that is not of echorl names the rule and the place."""
    try:
        return getattr(method, rule)(*arguments)
    except (Exception, SystemExit) as error:
        if type(method).__module__.partition(".")[0] == "echorl":
            raise
        raise ValueError(
            f"{type(method).__name__}.{rule} raised {type(error).__name__}: {error}{_place(error)}: mend the method."
        ) from error


def _place(error: BaseException) -> str:
    """Return the innermost place in the file of the rule that was called, in brackets; "" where it was not entered."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # without the call
    lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
    return f" ({frames[0].filename}, line {lines[-1]})" if lines else ""


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
