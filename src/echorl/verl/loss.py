"""The loss of verl's actor workers: verl's plus EchoRL's term, from log-probs that verl computes anyway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.padding import no_padding_2_padding

from echorl.core.losses import echo_loss

WEIGHTS, COEF, COUNT = "echo_weights", "echo_coef", "echo_count"


@dataclass(frozen=True)
class EchoLoss:
    """`base` plus coef * J_echo, J_echo = -(w * logp).sum() * dp_size / count over a mini-batch's micro-batches.

    verl averages gradients over the `dp_size` data-parallel ranks and adds them up over micro-batches, so the sum over
    ranks and micro-batches of this term is the mini-batch's for any split. Ray pickles it.

    Args:
        base: verl's loss, called with `model_output`, `data` and `dp_group`; returns the loss and its metrics.

    Raises:
        RuntimeError: the micro-batch came without EchoRL's weights, coefficient or count.
    """

    base: Callable[..., tuple[Tensor, dict[str, Any]]]

    def __call__(
        self, model_output: dict[str, Any], data: TensorDict, dp_group: Any = None
    ) -> tuple[Tensor, dict[str, Any]]:
        # A mini-batch of filtered groups alone has a policy loss of 0, where verl would compute 0 / 0.
        if tu.get(data, "batch_num_tokens", default=None) == 0:
            tu.assign_non_tensor(data, batch_num_tokens=1)
        loss, metrics = self.base(model_output=model_output, data=data, dp_group=dp_group)
        missing = [name for name in (WEIGHTS, COEF, COUNT) if name not in data]
        if missing:
            raise RuntimeError(
                f"{', '.join(missing)} never reached EchoRL's loss: a step between mining and loss dropped it."
            )
        logp = no_padding_2_padding(model_output["log_probs"], data)
        weights = data[WEIGHTS].to_padded_tensor(0.0)
        weights = torch.nn.functional.pad(weights, (0, logp.shape[1] - weights.shape[1]))
        count = tu.get(data, COUNT)
        term = echo_loss(logp, weights, num_prompts=count) * data["dp_size"]
        # verl takes the mean over ranks, the sum over micro-batches and the mean over mini-batches.
        for name, value in (("echo/nll", term.detach() * count), ("echo/mass", weights.sum() * data["dp_size"])):
            metrics[name] = Metric(value=value, aggregation=AggregationType.SUM)
        coef = tu.get(data, COEF)
        return (loss + coef * term if coef else loss), metrics  # 0 where clips are mined only
