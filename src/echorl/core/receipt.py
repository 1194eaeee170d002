"""State of EchoRL's loss: the receipt of a generation batch's weights, and the sums of an optimiser step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echorl.core.communication import Communication
from echorl.core.entropy import wide_dtype
from echorl.core.losses import check_delivered, weight_mass

LOST = "reached EchoRL's loss: something between generation and loss dropped, changed or bypassed `echo_weights`."
WITHOUT_POLICY_GRADIENT = (
    "an optimiser step had no policy gradient: every group in it was degenerate, so its gradient is the echo's alone, "
    "and an adaptive optimiser can make a full-size step of it at any {}."
)
"""Warning, with the name of the coefficient's option."""


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


class OptimizerWindow:
    """Sums over the micro-batches since the last optimiser step, on this process, kept on the device (no sync).

    Attributes:
        without_policy_gradient: whether the step that was closed last has no gradient but the echo's.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.without_policy_gradient = False

    def add(self, logps: Tensor, weights: Tensor, num_policy: Tensor) -> None:
        """Add a micro-batch: its log-probs and weights, and the number of its rows with a policy gradient.

        The tokens with a gradient by the method's own term count as such rows.
        """
        sums = torch.stack([(-logps.detach() * weights).sum(), weights.sum(), num_policy])
        sums = sums.to(wide_dtype(weights.device))
        self.sums = sums if self.sums is None else self.sums + sums

    def close(self, comm: Communication, coef: float, *, other_terms: bool) -> dict[str, float]:
        """Return the metrics of the optimiser step, whose gradients are complete, and begin the next.

        Args:
            coef: the coefficient in force.
            other_terms: whether the loss has terms beside the policy's and the echo's.

        Raises:
            RuntimeError: no micro-batch came through EchoRL's loss.
        """
        if self.sums is None:
            raise RuntimeError(f"no micro-batch of an optimiser step {LOST}")
        nll, mass, num_policy = comm.sum(self.sums).tolist()
        self.sums = None
        self.without_policy_gradient = num_policy == 0 and not other_terms
        metrics = {"echo/without_policy_gradient": float(self.without_policy_gradient), "echo/coef": coef}
        return metrics | ({"echo/nll": nll / mass} if mass else {})
