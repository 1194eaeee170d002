"""`MethodHooks`: the changes of a method to the sampling, and its term of the loss."""

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
    """The trainer's sampling, unchanged. Hooks are named by what they return and act in training, never in evaluation.

    Attributes:
        needs_logps: whether `loss` adds a term, which needs the training forward's log-probs.
        excludes: whether rollouts of a batch can be outside its loss.
        filtered_clips: clips of the batch that have no place in it.
    """

    needs_logps = False
    method: Any

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        self.method, self.verifiers = method, verifiers
        self.excludes = method.excludes
        self.filtered_clips = FilteredClips()

    def collect(self, rows: list[Row], sample: Sample, context: Context) -> dict[str, Any]:
        """Return TRL's batch for these rows of the data set, as large as they are; `sample` as often as needed."""
        return sample(rows).batch

    def plan(self, rows: list[Row], context: Context) -> Plan:
        """Return the prefixes of these rows' rollouts, and the demonstrations that replace some of them."""
        return Plan()

    def rewards(self, rewards: Tensor, capture: Capture, context: Context) -> Tensor:
        """Return the functions' rewards [N, F] over all processes from which TRL computes advantages."""
        return rewards

    def filtered_groups(self, rollouts: Rollouts) -> Tensor:
        """Return bool [G], the groups kept out of the policy loss, in whose place others are sampled."""
        return torch.zeros_like(rollouts.groups.degenerate)

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages [N], given those of the method's rule."""
        return advantages

    def carried(self, out: dict[str, Any], rollouts: Rollouts, capture: Capture, context: Context) -> dict[str, Tensor]:
        """Return tensors for TRL's batch, which carries them to `loss`: of `CARRIED`, the same every time."""
        return {}

    def carried_by_entropy(
        self, out: dict[str, Any], entropy: Tensor, rollouts: Rollouts, context: Context
    ) -> dict[str, Tensor]:
        """Return tensors as `carried`, of a method that reads entropies [B, T]; called if `method.needs_entropy`."""
        return {}

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        """Return a term of the loss, scaled as the trainer scales its own."""
        raise NotImplementedError

    def num_supervised_tokens(self, inputs: dict[str, Any]) -> Tensor:
        """Return the 0-dimensional count of a micro-batch's tokens on which `loss` acts for any rewards of the group.

        An optimiser step with such a token has a gradient beside the echo's, even if every group is degenerate.
        """
        return inputs["completion_mask"].new_zeros(())

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a resumed run, the same on every process; {}: none."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state; {} is that of a run without these hooks."""


def make_hooks(method: Method, context: Context, verifiers: Verifiers) -> MethodHooks:
    """Return the hooks that the method names by an import string, "module:Class"."""
    if method.trl_hooks is None:
        return MethodHooks(method, context, verifiers)
    module, _, name = method.trl_hooks.partition(":")
    return getattr(import_module(module), name)(method, context, verifiers)
