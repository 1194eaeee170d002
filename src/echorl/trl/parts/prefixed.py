"""Rollouts that begin with tokens which the policy did not just sample: a hint, or a piece of an earlier rollout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.trl.parts.base import COMPLETION_IDS, TOOL_MASK, Generated, Part

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


class Prefixed(Part):
    """The policy continues prompt + prefix; both are the completion, and the prefix is masked as a tool's text is.

    Attributes:
        prefixes: of this process's rollouts, set in `begin`; empty lists where there is none.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        method = trainer.args.method
        if trainer.rollout_func:
            raise ValueError(
                f"method={method!r} does not go with a rollout_func, which would have to continue its prefixes."
            )
        if trainer.tools:
            raise ValueError(f"method={method!r} does not go with tools: its prefixes hold no tool calls.")
        self.prefixes: list[list[int]] = []

    def extend_prompts(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        return [[*prompt, *prefix] for prompt, prefix in zip(prompt_ids, self.prefixes, strict=True)]

    def extend_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields of one number a token (lists of lists): a prefix's tokens are text, type 0."""
        return {name: self._with_zeros(value) for name, value in fields.items()}

    def _with_zeros(self, value: Any) -> Any:
        if not (isinstance(value, list) and value and isinstance(value[0], list)):
            return value
        return [[*row, *[0] * len(prefix)] for row, prefix in zip(value, self.prefixes, strict=True)]

    def extend_completions(self, completion_ids: Any, logprobs: Any) -> tuple[Any, Any]:
        whole = [[*prefix, *ids] for prefix, ids in zip(self.prefixes, completion_ids, strict=True)]
        if logprobs is not None:
            logprobs = [[*[math.nan] * len(p), *own] for p, own in zip(self.prefixes, logprobs, strict=True)]
        return whole, logprobs

    def generated(self, generated: Generated) -> Generated:
        pairs = zip(self.prefixes, generated[COMPLETION_IDS], strict=True)
        generated[TOOL_MASK] = [[0] * len(prefix) + [1] * (len(ids) - len(prefix)) for prefix, ids in pairs]
        return generated

    def spent(self, lengths: list[int]) -> list[int]:
        return [length - len(prefix) for length, prefix in zip(lengths, self.prefixes, strict=True)]

    def offsets(self, size: int) -> Tensor:
        return torch.tensor([len(prefix) for prefix in self.prefixes], device=self.trainer.accelerator.device)
