"""EchoRL's term of the loss; its receipt covers a generation batch, its `OptimizerWindow` an optimiser step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.entropy import wide_dtype
from echorl.core.losses import echo_loss
from echorl.core.receipt import LOST, DeliveryReceipt
from echorl.trl.context import Context
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.filtered_clips import FILTERED, filtered_logps
from echorl.trl.without_policy_gradient import other_terms


class OptimizerWindow:
    """Sums over the micro-batches since the last optimiser step, on this process, kept on the device (no sync).

    Attributes:
        without_policy_gradient: whether the step at hand has no gradient but the echo's; set by `close`.
    """

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.without_policy_gradient = False

    def add(self, nll: Tensor, mass: Tensor, num_policy: Tensor) -> None:
        """Add a micro-batch: the weighted NLL, the weights' sum, and the number of rows with a policy gradient.

        The tokens with a gradient by the method's own term count as such rows.
        """
        sums = torch.stack([nll.detach(), mass, num_policy]).to(wide_dtype(nll.device))
        self.sums = sums if self.sums is None else self.sums + sums

    def close(self, config: EchoConfig, context: Context) -> None:
        """Log the metrics of the optimiser step, whose gradients are complete, and begin the next.

        Raises:
            RuntimeError: no micro-batch came through EchoRL's loss.
        """
        if self.sums is None:
            raise RuntimeError(f"no micro-batch of an optimiser step {LOST}")
        nll, mass, num_policy = context.comm.sum(self.sums).tolist()
        self.sums = None
        self.without_policy_gradient = num_policy == 0 and not any(other_terms(context).values())
        context.log.update({"echo/without_policy_gradient": self.without_policy_gradient})
        context.log.update({"echo/coef": config.coef_at(context.step), **({"echo/nll": nll / mass} if mass else {})})
        if self.without_policy_gradient and mass and config.trains and config.without_policy_gradient == "allow":
            context.log.warn_once(
                "without_policy_gradient",
                "an optimiser step had no policy gradient: every group in it was degenerate, so its gradient is the "
                "echo's alone, and an adaptive optimiser can make a full-size step of it at any echo_coef. "
                "echo_without_policy_gradient='skip' leaves such steps out.",
            )


class EchoTerm:
    """EchoRL's term of a micro-batch's loss, which the receipt and the window record."""

    def __init__(self, config: EchoConfig) -> None:
        self.config = config
        self.receipt, self.window = DeliveryReceipt(), OptimizerWindow()

    def __call__(self, micro_batch: MicroBatch, score: Callable[..., Tensor], num_supervised: Tensor) -> Tensor:
        """Return coef * J_echo with graph; 0 where clips are mined only.

        Args:
            score: (model, ids, mask, number of last tokens, **images) -> log-probs with graph, for clips of filtered
                groups.
            num_supervised: 0-dimensional, the micro-batch's tokens with a gradient by the method's own term.

        Raises:
            RuntimeError: the weights were lost on the way.
        """
        inputs, logps = micro_batch.inputs, micro_batch.logps
        if "echo_weights" not in inputs or logps is None:
            raise RuntimeError("echo_weights were lost between generation and loss: EchoRL would silently do nothing.")
        with nullcontext() if self.config.trains else torch.no_grad():  # without: for the receipt and the metrics
            weights = inputs["echo_weights"]
            if FILTERED in inputs:
                filtered = filtered_logps(micro_batch, score)
                logps = torch.cat([logps.flatten(), filtered.flatten()])
                weights = torch.cat([weights.flatten(), inputs[FILTERED]["weights"].flatten()])
            nll = echo_loss(logps, weights, num_prompts=micro_batch.share_of(inputs["echo_count"]))
            self.receipt.deliver(weights)
            num_policy = num_supervised + inputs["echo_has_gradient"].sum()
            self.window.add((-logps.detach() * weights).sum(), weights.sum(), num_policy)
            return self.config.coef_at(micro_batch.context.step) * nll
