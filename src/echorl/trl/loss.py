"""EchoRL's term of the loss; its receipt covers a generation batch, its window an optimiser step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.losses import echo_loss
from echorl.core.optimizer_window import OptimizerWindow, without_policy_gradient
from echorl.core.receipt import DeliveryReceipt
from echorl.trl.context import Context
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.filtered_clips import FILTERED, filtered_logps
from echorl.trl.without_policy_gradient import other_terms


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
            self.window.add(logps, weights, num_policy)
            return self.config.coef_at(micro_batch.context.step) * nll

    def close_step(self, context: Context) -> None:
        """Log the metrics of the optimiser step, whose gradients are complete, and begin the next.

        Raises:
            RuntimeError: no micro-batch came through EchoRL's loss.
        """
        config, has_other_terms = self.config, any(other_terms(context).values())
        metrics = self.window.close(context.comm, config.coef_at(context.step), other_terms=has_other_terms)
        context.log.update(metrics)
        changes_policy = config.trains and config.without_policy_gradient == "allow" and "echo/nll" in metrics
        if self.window.without_policy_gradient and changes_policy:
            advice = "echo_without_policy_gradient='skip' leaves such steps out."
            context.log.warn_once("without_policy_gradient", f"{without_policy_gradient('echo_coef')} {advice}")
