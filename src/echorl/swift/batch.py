"""ms-swift's generation batch on one process: its micro-batches as one frame, and what they carry to the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

WEIGHTS, NUM_POLICY = "echo_weights", "echo_num_policy"
"""What a micro-batch carries: float [B, T], and the number of its rows with a policy gradient."""


def join(parts: Iterable[Tensor]) -> Tensor:
    """Return the rows [B_i, T_i] of all parts as [B, T], padded on the left.

    >>> join([torch.tensor([[1, 2]]), torch.tensor([[3]])]).tolist()
    [[1, 2], [0, 3]]
    """
    parts = list(parts)
    width = max(part.shape[1] for part in parts)
    return torch.cat([pad(part, (width - part.shape[1], 0)) for part in parts])


@dataclass(frozen=True)
class Batch:
    """The micro-batches of a generation batch, in order; ms-swift does not shuffle them.

    Attributes:
        micro_batches: ms-swift's dicts of `model_inputs` and `grpo_batch`.
    """

    micro_batches: list[dict[str, Any]]

    @property
    def parts(self) -> list[Any]:
        """The `GRPOBatch` of each micro-batch."""
        return [micro_batch["grpo_batch"] for micro_batch in self.micro_batches]

    @property
    def mask(self) -> Tensor:
        """bool [B, T]: the policy's own tokens."""
        return join(part.completion_mask.bool() for part in self.parts)

    @property
    def truncated(self) -> Tensor:
        """bool [B]: the rollouts that ended at the limit of length."""
        return torch.cat([part.truncated_mask for part in self.parts])

    @property
    def token_ids(self) -> Tensor:
        """int64 [B, T]."""
        return join(
            micro_batch["model_inputs"]["input_ids"][:, -micro_batch["grpo_batch"].logits_to_keep :]
            for micro_batch in self.micro_batches
        )

    def entropy(self, passes: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the token entropies [B, T] of the passes that gave the old policy's log-probs.

        Args:
            passes: (log-probs, entropies) of all passes of the model while the batch was made; with adapters the
                reference pass is one of them, too.

        Raises:
            RuntimeError: no pass gave a micro-batch's old log-probs.
        """
        entropies = [[entropy for logps, entropy in passes if logps is part.old_per_token_logps] for part in self.parts]
        if not all(entropies):
            raise RuntimeError("ms-swift made no pass for the old log-probs, which gives EchoRL its entropies.")
        return join(candidates[0] for candidates in entropies)

    def put(self, weights: Tensor, has_gradient: Tensor) -> None:
        """Let the micro-batches carry their rows of `weights` [B, T] and of `has_gradient` [B]."""
        sizes = [len(part.completion_mask) for part in self.parts]
        for part, rows, flags in zip(self.parts, weights.split(sizes), has_gradient.split(sizes), strict=True):
            width = part.completion_mask.shape[1]
            setattr(part, WEIGHTS, rows[:, rows.shape[1] - width :])
            setattr(part, NUM_POLICY, flags.sum())
