"""UFT's part: the beginning of the demonstration as the beginning of every rollout of its group."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from trl.trainer.utils import strip_images_from_messages

from echorl.core.losses import echo_loss
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.tasks.demonstrations import demonstration_text
from echorl.trl.parts.base import COMPLETION_IDS, TOOL_MASK, Generated, Part
from echorl.trl.parts.demonstrations import check_demonstrations, opening, tokenize

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


class Hints(Part):
    """The policy continues prompt + hint; both are the completion, and the hint is masked as a tool's text is."""

    needs_logps = True

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        self.column = check_demonstrations(trainer)
        self.opening = opening(trainer)
        if trainer.rollout_func:
            raise ValueError("method='uft' does not go with a rollout_func, which would have to continue the hints.")
        self.delimiters = StepDelimiters.from_tokenizer(trainer._tokenizer)
        self.hints: list[list[int]] = []

    def begin(self, inputs: list[dict[str, Any]]) -> None:
        self.hints = [self._hint(example) for example in inputs]
        lengths = torch.tensor([float(len(hint)) for hint in self.hints], device=self.trainer.accelerator.device)
        lengths = self.trainer.accelerator.gather(lengths)
        self.trainer.add_metric("hint_tokens", float(lengths.mean()), family="method")
        self.trainer.add_metric("hinted", float((lengths > 0).float().mean()), family="method")

    def _hint(self, example: dict[str, Any]) -> list[int]:
        """The same for all rollouts of a prompt, on whatever process, and another one at another step."""
        text = demonstration_text(example[self.column])
        if text is None:
            return []
        ids = tokenize(self.trainer, text.removeprefix(self.opening))[:-1]
        steps = segment_steps(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool), self.delimiters)[0]
        step = self.trainer.state.global_step
        prompt = strip_images_from_messages(example["prompt"])  # an image's text is its address
        rng = random.Random(f"{self.trainer.args.seed} {step} {prompt} {text}")
        kept = self.trainer.method.num_hint_steps(int(steps.max()) + 1, step, rng)
        return ids[: int((steps < kept).sum())]

    def extend_prompts(self, prompt_ids: list[list[int]]) -> list[list[int]]:
        return [[*prompt, *hint] for prompt, hint in zip(prompt_ids, self.hints, strict=True)]

    def extend_fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Fields of one number a token (lists of lists): a hint's tokens are text, type 0."""
        return {name: self._with_zeros(value) for name, value in fields.items()}

    def _with_zeros(self, value: Any) -> Any:
        if not (isinstance(value, list) and value and isinstance(value[0], list)):
            return value
        return [[*row, *[0] * len(hint)] for row, hint in zip(value, self.hints, strict=True)]

    def extend_completions(self, completion_ids: Any, logprobs: Any) -> tuple[Any, Any]:
        whole = [[*hint, *ids] for hint, ids in zip(self.hints, completion_ids, strict=True)]
        if logprobs is not None:
            logprobs = [[*[math.nan] * len(h), *own] for h, own in zip(self.hints, logprobs, strict=True)]
        return whole, logprobs

    def generated(self, generated: Generated) -> Generated:
        pairs = zip(self.hints, generated[COMPLETION_IDS], strict=True)
        generated[TOOL_MASK] = [[0] * len(hint) + [1] * (len(ids) - len(hint)) for hint, ids in pairs]
        return generated

    def spent(self, lengths: list[int]) -> list[int]:
        return [length - len(hint) for length, hint in zip(lengths, self.hints, strict=True)]

    def offsets(self, size: int) -> Tensor:
        return torch.tensor([len(hint) for hint in self.hints], device=self.trainer.accelerator.device)

    def annotate(self, out: dict[str, Any]) -> None:
        ids = out["completion_ids"]
        mask = torch.arange(ids.shape[1], device=ids.device) < self.offsets(ids.shape[0]).unsqueeze(1)
        mask &= out["completion_mask"].bool()  # the forward attends to nothing of a rollout masked as truncated
        out["hint_mask"] = mask.float()
        out["hint_count"] = self.trainer.accelerator.gather(mask.sum()).sum().float()

    def loss(self, inputs: dict[str, Any], logps: Tensor) -> Tensor:
        """`hint_weight` times the mean NLL of all the hints' tokens of a generation batch."""
        count = self.trainer.share_of(inputs["hint_count"])
        return self.trainer.method.hint_weight * echo_loss(logps, inputs["hint_mask"], num_prompts=count)

    def num_learned(self, inputs: dict[str, Any]) -> Tensor:
        return inputs["hint_mask"].sum()
