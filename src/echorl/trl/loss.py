"""EchoRL's term of the loss: `DeliveryReceipt` covers a generation batch, `OptimizerWindow` an optimiser step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.entropy import wide_dtype
from echorl.core.losses import echo_loss
from echorl.trl.context import Context
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.filtered_clips import FILTERED, filtered_logps
from echorl.trl.without_policy_gradient import other_terms

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


class OptimizerWindow:
    """Sums over the micro-batches since the last optimiser step, on this process, kept on the device (no sync).

    Attributes:
        without_policy_gradient: whether the step at hand has no gradient but the echo's; set by `close`.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.without_policy_gradient = False

    def add(self, nll: Tensor, mass: Tensor, others: Tensor) -> None:
        """Add a micro-batch: the weighted NLL, the weights' sum, and how many rows have another gradient.

        Such a row has one of the policy loss; tokens with a gradient by the method's own term count, too.
        """
        sums = torch.stack([nll.detach(), mass, others]).to(wide_dtype(nll.device))
        self.sums = sums if self.sums is None else self.sums + sums

    def close(self, config: EchoConfig, context: Context) -> None:
        """Log the metrics of the optimiser step, whose gradients are complete, and begin the next.

        Raises:
            RuntimeError: no micro-batch came through EchoRL's loss.
        """
        if self.sums is None:
            raise RuntimeError(f"no micro-batch of an optimiser step {LOST}")
        nll, mass, others = context.comm.sum(self.sums).tolist()
        self.sums = None
        self.without_policy_gradient = others == 0 and not any(other_terms(context).values())
        metrics = {
            "echo/without_policy_gradient": float(self.without_policy_gradient),
            "echo/coef": config.coef_at(context.step),
        }
        context.log.update({**metrics, "echo/nll": nll / mass} if mass else metrics)
        if self.without_policy_gradient and mass and config.trains and config.without_policy_gradient == "allow":
            context.log.warn_once(
                "without_policy_gradient",
                "an optimiser step had no policy gradient: every group in it was degenerate, so its gradient is the "
                "echo's alone and an adaptive optimiser can make a full-size step of it at any echo_coef. See "
                "echo_without_policy_gradient.",
            )


class EchoTerm:
    """EchoRL's term of a micro-batch's loss; notes what it delivers in the receipt and in the window."""

    def __init__(self, config: EchoConfig) -> None:
        self.config = config
        self.receipt, self.window = DeliveryReceipt(), OptimizerWindow()

    def __call__(self, micro_batch: MicroBatch, score: Callable[..., Tensor], others: Tensor) -> Tensor:
        """Return coef * J_echo with graph; 0 where clips are mined only.

        Args:
            score: (model, ids, mask, number of last tokens, **images) -> log-probs with graph, for clips of filtered
                groups.
            others: 0-dimensional, the micro-batch's tokens with a gradient by the method's own term.

        Raises:
            RuntimeError: the weights were lost on the way.
        """
        inputs, logps = micro_batch.inputs, micro_batch.logps
        if "echo_weights" not in inputs or logps is None:
            raise RuntimeError("echo_weights were lost between generation and loss: EchoRL would silently do nothing.")
        with nullcontext() if self.config.trains else torch.no_grad():  # else for the receipt and the metrics alone
            weights = inputs["echo_weights"]
            if FILTERED in inputs:
                filtered = filtered_logps(micro_batch, score)
                logps = torch.cat([logps.flatten(), filtered.flatten()])
                weights = torch.cat([weights.flatten(), inputs[FILTERED]["weights"].flatten()])
            nll = echo_loss(logps, weights, num_prompts=micro_batch.share_of(inputs["echo_count"]))
            self.receipt.deliver(weights)
            others = others + inputs["echo_has_gradient"].sum()
            self.window.add((-logps.detach() * weights).sum(), weights.sum(), others)
            return self.config.coef_at(micro_batch.context.step) * nll
