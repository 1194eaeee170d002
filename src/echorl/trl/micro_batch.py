"""`MicroBatch`: the input of a term of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from echorl.trl.context import Context


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """A micro-batch of training in the loss.

    Attributes:
        model: the model as the trainer wraps it.
        inputs: TRL's, with the keys of `CARRIED`.
        logps: [b, T] log-probs that the policy loss computed, with graph; None where it computed none.
        accumulation: micro-batches of the optimiser step.
    """

    model: Any
    inputs: dict[str, Any]
    logps: Any
    accumulation: int
    context: Context

    def share_of(self, count: Tensor) -> Tensor:
        """Return the divisor of a sum over the micro-batch, given the `count` of the generation batch on all processes.

        As in TRL's own token-level losses: gradients are averaged over processes and summed over micro-batches, and an
        optimiser step sees its share of the generation batch.
        """
        share = self.accumulation / self.context.args.steps_per_generation
        return count.clamp(min=1.0) / self.context.comm.num_ranks * share
