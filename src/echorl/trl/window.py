"""Sums over a generation batch (the delivery receipt) and over an optimiser step's micro-batches (its metrics)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class DeliveryReceipt:
    """Checks that the weight mass that was mined reaches the loss, once in every pass over the generation batch."""

    def __init__(self) -> None:
        self.mined = 0.0
        self.delivered = 0.0
        self.num_left = 0
        self.num_micro_batches = 0

    def open(self, weights: Tensor, num_micro_batches: int) -> None:
        """A generation batch was mined: `weights` [B, T] will come in `num_micro_batches` parts."""
        self.mined = float(weights.double().sum())
        self.num_micro_batches = num_micro_batches
        self._restart()

    def _restart(self) -> None:
        self.delivered: float | Tensor = 0.0
        self.num_left = self.num_micro_batches

    def deliver(self, weights: Tensor) -> None:
        """A micro-batch's weights reached the loss.

        Raises:
            RuntimeError: a pass over the generation batch is complete and its mass differs from what was mined.
        """
        self.delivered = self.delivered + weights.double().sum()
        self.num_left -= 1
        if self.num_left > 0:
            return
        delivered = float(self.delivered)
        if abs(delivered - self.mined) > 1e-5 * max(1.0, self.mined):
            raise RuntimeError(
                f"EchoRL mined a weight mass of {self.mined:.6g}, but {delivered:.6g} reached the loss: "
                "something between generation and loss dropped or changed `echo_weights`."
            )
        self._restart()

    def state_dict(self) -> dict[str, Any]:
        return {**vars(self), "delivered": float(self.delivered)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@dataclass
class OptimizerWindow:
    """Sums over the micro-batches since the last optimiser step, on this process, kept on the device (no sync)."""

    sums: Tensor | None = None
    echo_grads: list[Tensor] | None = field(default=None, repr=False)

    def add(self, nll: Tensor, mass: Tensor, informative: Tensor) -> None:
        """Add a micro-batch: the weighted NLL, the weights' sum and the number of rows with a policy gradient."""
        part = torch.stack([nll.detach().double(), mass.double(), informative.double()])
        self.sums = part if self.sums is None else self.sums + part

    def add_grads(self, grads: list[Tensor]) -> None:
        """Add a micro-batch's gradient of the echo term alone."""
        self.echo_grads = (
            grads if self.echo_grads is None else [a + b for a, b in zip(self.echo_grads, grads, strict=True)]
        )

    def close(self) -> tuple[Tensor | None, list[Tensor] | None]:
        """The sums (NLL, mass, informative rows) and the echo's gradients; starts the next window."""
        result = self.sums, self.echo_grads
        self.sums, self.echo_grads = None, None
        return result
