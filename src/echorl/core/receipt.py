"""`DeliveryReceipt`: the check that the weights that were mined reach the loss, where the loss is EchoRL's."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from echorl.core.losses import check_delivered, weight_mass

LOST = "reached EchoRL's loss: something between generation and loss dropped, changed or bypassed `echo_weights`."


class DeliveryReceipt:
    """Checks that the weight mass that was mined reaches the loss, once in every pass over the generation batch."""

    def __init__(self) -> None:
        self.mined = 0.0
        self.delivered: float | Tensor = 0.0
        self.num_left = 0
        self.num_micro_batches = 0

    def open(self, weights: Tensor, num_micro_batches: int) -> None:
        """Expect the `weights` [B, T] of a generation batch in `num_micro_batches` micro-batches.

        Raises:
            RuntimeError: the previous batch was not delivered to its end.
        """
        if self.num_left != self.num_micro_batches:
            raise RuntimeError(f"{self.num_left} micro-batches of the last generation batch never {LOST}")
        self.mined = float(weight_mass(weights))
        self.num_micro_batches = num_micro_batches
        self._restart()

    def _restart(self) -> None:
        self.delivered = 0.0
        self.num_left = self.num_micro_batches

    def deliver(self, weights: Tensor) -> None:
        """Count the weights of a micro-batch that reached the loss.

        Raises:
            RuntimeError: a pass over the generation batch is complete and its mass differs from what was mined.
        """
        self.delivered = self.delivered + weight_mass(weights)
        self.num_left -= 1
        if self.num_left > 0:
            return
        check_delivered(self.mined, float(self.delivered))
        self._restart()

    def state_dict(self) -> dict[str, Any]:
        return {**vars(self), "delivered": float(self.delivered)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
