"""What a method adds to the trainer, in hooks that do nothing by default; the trainer calls them in this order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.core.groups import Groups
from echorl.methods.base import Batch

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

Generated = list[Any]
"""What `GRPOTrainer._generate` returns; by position: PROMPT_IDS, COMPLETION_IDS, TOOL_MASK, COMPLETIONS, LOGPROBS."""
PROMPT_IDS, COMPLETION_IDS, TOOL_MASK, COMPLETIONS, LOGPROBS = range(5)


class Part:
    """No addition. Hooks act on a generation batch of training (B rollouts of this process), never in evaluation.

    Attributes:
        needs_logps: whether `loss` wants the training forward's log-probs.
    """

    needs_logps = False

    rows_before = 0
    """Rollouts of all processes in earlier rounds of this generation batch."""

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer

    def collect(self, inputs: list[dict[str, Any]], sample: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> Any:
        """TRL's batch for these rows of the data set; `sample` generates, scores and annotates rows, as often as liked.

        It is as large as `inputs`.
        """
        return sample(inputs)

    def begin(self, inputs: list[dict[str, Any]]) -> None:
        """Rollouts of these rows of the data set are about to be sampled."""

    def extend_prompts(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        """What the policy continues, in place of the prompts."""
        return prompt_ids

    def extend_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What a vision model's processor says of the prompts, as of what `extend_prompts` gave."""
        return fields

    def extend_completions(self, completion_ids: Any, logprobs: Any) -> tuple[Any, Any]:
        """The completions of what `extend_prompts` gave, as completions of the prompts."""
        return completion_ids, logprobs

    def generated(self, generated: Generated) -> Generated:
        """Change what was generated, before it is scored."""
        return generated

    def spent(self, lengths: list[int]) -> list[int]:
        """Tokens that the policy sampled for each rollout, given those of the completions."""
        return lengths

    def sampled(self, size: int) -> Tensor:
        """bool [B]: the rollouts that the policy wrote."""
        return torch.ones(size, dtype=torch.bool, device=self.trainer.accelerator.device)

    def offsets(self, size: int) -> Tensor:
        """int64 [B]: tokens at a completion's start that the policy did not sample."""
        return torch.zeros(size, dtype=torch.int64, device=self.trainer.accelerator.device)

    def rewards(self, rewards: Tensor) -> Tensor:
        """Change the functions' rewards [N, F] over all processes before advantages are made of them."""
        return rewards

    def dropped(self, groups: Groups) -> Tensor:
        """bool [G]: the groups that are left out of the policy loss."""
        return torch.zeros_like(groups.degenerate)

    def judged(self, advantages: Tensor, batch: Batch) -> Tensor:
        """Change the method's advantages [N] of the rollouts of all processes, which have their verdicts."""
        return advantages

    def annotate(self, out: dict[str, Any]) -> None:
        """Add tensors for `loss` to TRL's batch: the same keys every time, rows or scalars."""

    def echo_weights(self, out: dict[str, Any]) -> Tensor:
        """All weights that the loss will see of this generation batch, in whatever shape."""
        return out["echo_weights"]

    def deal(self, micro_batches: list[dict[str, Any]]) -> None:
        """Give the micro-batches, shuffled and split by TRL, what is no row of the batch."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs; the same on every process."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it; an empty one is of a run without this part."""

    def loss(self, inputs: dict[str, Any], logps: Tensor) -> Tensor:
        """A term to add to the loss of a micro-batch, scaled as the trainer scales its own."""
        raise NotImplementedError

    def num_learned(self, inputs: dict[str, Any]) -> Tensor:
        """0-dimensional: tokens of a micro-batch whose gradient by `loss` does not hang on the rewards of their group.

        With one of them in an optimiser step the echo is not alone, even if every group is degenerate.
        """
        return inputs["completion_mask"].new_zeros(())
