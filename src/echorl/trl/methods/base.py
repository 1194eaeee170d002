"""`MethodHooks`: where a method changes what is sampled, or adds a term to the loss."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.trl.batch import Capture, Plan, Sampled
from echorl.trl.context import Context
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.filtered_clips import FilteredClips
from echorl.trl.verifiers import Verifiers

Row = dict[str, Any]


class Sample(Protocol):
    """Samples, scores and mines rollouts of these rows; `first_row` counts the rollouts of earlier rounds."""

    def __call__(self, rows: list[Row], first_row: int = 0) -> Sampled: ...


class MethodHooks:
    """The trainer's own sampling. Hooks are named by what they return and act in training alone, never in evaluation.

    Attributes:
        needs_logps: whether `loss` adds a term, which needs the training forward's log-probs.
        filtered_clips: clips of the batch that have no place in it.
    """

    needs_logps = False
    method: Any

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        self.method, self.verifiers = method, verifiers
        self.filtered_clips = FilteredClips()

    def collect(self, rows: list[Row], sample: Sample, context: Context) -> dict[str, Any]:
        """Return TRL's batch for these rows of the data set, as large as they are; `sample` as often as needed."""
        return sample(rows).batch

    def plan(self, rows: list[Row], context: Context) -> Plan:
        """Return what the rollouts of these rows begin with, and which of them give way to demonstrations."""
        return Plan()

    def rewards(self, rewards: Tensor, capture: Capture, context: Context) -> Tensor:
        """Return the functions' rewards [N, F] over all processes that advantages are made of."""
        return rewards

    def filtered_groups(self, rollouts: Rollouts) -> Tensor:
        """Return bool [G], the groups that are kept out of the policy loss for others to be sampled."""
        return torch.zeros_like(rollouts.groups.degenerate)

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages [N], given those of the method's rule."""
        return advantages

    def carried(self, out: dict[str, Any], capture: Capture, context: Context) -> dict[str, Tensor]:
        """Return tensors for TRL's batch, which carries them to `loss`: of `CARRIED`, the same every time."""
        return {}

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        """Return a term of the loss, scaled as the trainer scales its own."""
        raise NotImplementedError

    def num_supervised_tokens(self, inputs: dict[str, Any]) -> Tensor:
        """Return the 0-dimensional count of a micro-batch's tokens that `loss` teaches whatever their group's rewards.

        With one of them in an optimiser step the gradient is not the echo's alone, even if every group is degenerate.
        """
        return inputs["completion_mask"].new_zeros(())

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, the same on every process; empty: nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it; an empty one is of a run without these hooks."""


def make_hooks(method: Method, context: Context, verifiers: Verifiers) -> MethodHooks:
    """Return the hooks that the method names by an import string, "module:Class"."""
    if method.trl_hooks is None:
        return MethodHooks(method, context, verifiers)
    module, _, name = method.trl_hooks.partition(":")
    return getattr(import_module(module), name)(method, context, verifiers)
