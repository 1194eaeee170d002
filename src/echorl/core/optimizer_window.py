"""`OptimizerWindow`: sums of EchoRL's loss over the micro-batches of an optimiser step."""

from __future__ import annotations

import torch
from torch import Tensor

from echorl.core.communication import Communication
from echorl.core.entropy import wide_dtype
from echorl.core.receipt import LOST


def without_policy_gradient(option: str) -> str:
    """Return the warning of a step without a policy gradient, with the name of the coefficient's option."""
    return (
        "an optimiser step had no policy gradient: every group in it was degenerate, so its gradient is the echo's "
        f"alone, and an adaptive optimiser can make a full-size step of it at any {option}."
    )


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
