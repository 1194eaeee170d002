"""Sums over a generation batch (the delivery receipt) and over an optimiser step's micro-batches (its metrics)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echorl.core.entropy import wide_dtype

LOST = "reached EchoRL's loss: something between generation and loss dropped, changed or bypassed `echo_weights`."


def _mass(weights: Tensor) -> Tensor:
    return weights.to(wide_dtype(weights.device)).sum()


class DeliveryReceipt:
    """Checks that the weight mass that was mined reaches the loss, once in every pass over the generation batch."""

    def __init__(self) -> None:
        self.mined = 0.0
        self.delivered: float | Tensor = 0.0
        self.num_left = 0
        self.num_micro_batches = 0

    def open(self, weights: Tensor, num_micro_batches: int) -> None:
        """A generation batch was mined: `weights` [B, T] will come in `num_micro_batches` parts.

        Raises:
            RuntimeError: the batch before was not delivered to its end.
        """
        if self.num_left != self.num_micro_batches:
            raise RuntimeError(f"{self.num_left} micro-batches of the last generation batch never {LOST}")
        self.mined = float(_mass(weights))
        self.num_micro_batches = num_micro_batches
        self._restart()

    def _restart(self) -> None:
        self.delivered = 0.0
        self.num_left = self.num_micro_batches

    def deliver(self, weights: Tensor) -> None:
        """A micro-batch's weights reached the loss.

        Raises:
            RuntimeError: a pass over the generation batch is complete and its mass differs from what was mined.
        """
        self.delivered = self.delivered + _mass(weights)
        self.num_left -= 1
        if self.num_left > 0:
            return
        delivered = float(self.delivered)
        if abs(delivered - self.mined) > 1e-5 * max(1.0, self.mined):
            raise RuntimeError(f"of a weight mass of {self.mined:.6g} that was mined only {delivered:.6g} {LOST}")
        self._restart()

    def state_dict(self) -> dict[str, Any]:
        return {**vars(self), "delivered": float(self.delivered)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


@dataclass
class OptimizerWindow:
    """Sums over the micro-batches since the last optimiser step, on this process, kept on the device (no sync)."""

    sums: Tensor | None = None

    def add(self, nll: Tensor, mass: Tensor, others: Tensor) -> None:
        """Add a micro-batch: the weighted NLL, the weights' sum and the number of rows with another gradient.

        That is one of the policy loss; tokens with one of the method's part count, too.
        """
        part = torch.stack([nll.detach(), mass, others]).to(wide_dtype(nll.device))
        self.sums = part if self.sums is None else self.sums + part

    def close(self) -> Tensor:
        """Return the sums (NLL, mass, other gradients) and start the next window.

        Raises:
            RuntimeError: no micro-batch came through EchoRL's loss.
        """
        if self.sums is None:
            raise RuntimeError(f"no micro-batch of an optimiser step {LOST}")
        sums, self.sums = self.sums, None
        return sums
