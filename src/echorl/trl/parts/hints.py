"""UFT's part: the beginning of the demonstration as the beginning of every rollout of its group."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from trl.trainer.utils import strip_images_from_messages

from echorl.core.losses import echo_loss
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.tasks.demonstrations import demonstration_text
from echorl.trl.parts.demonstrations import check_demonstrations, opening, tokenize
from echorl.trl.parts.prefixed import Prefixed

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


class Hints(Prefixed):
    """The prefix is a hint, and the NLL of its tokens is added to the loss."""

    needs_logps = True

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.column = check_demonstrations(trainer)
        super().__init__(trainer)
        self.opening = opening(trainer)
        self.delimiters = StepDelimiters.from_tokenizer(trainer._tokenizer)

    def begin(self, inputs: list[dict[str, Any]]) -> None:
        self.prefixes = [self._hint(example) for example in inputs]
        lengths = torch.tensor([float(len(hint)) for hint in self.prefixes], device=self.trainer.accelerator.device)
        lengths = self.trainer.accelerator.gather(lengths)
        self.trainer.add_metric("hint_tokens", float(lengths.mean()), family="method")
        self.trainer.add_metric("hinted", float((lengths > 0).float().mean()), family="method")

    def _hint(self, example: dict[str, Any]) -> list[int]:
        """The same for all rollouts of a prompt, on whatever process, and another one at another step."""
        text = demonstration_text(example[self.column])
        if text is None:
            return []
        ids = tokenize(self.trainer, text.removeprefix(self.opening))[:-1]
        if not ids:
            return []
        steps = segment_steps(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool), self.delimiters)[0]
        step = self.trainer.state.global_step
        prompt = strip_images_from_messages(example["prompt"])  # an image's text is its address
        rng = random.Random(f"{self.trainer.args.seed} {step} {prompt} {text}")
        kept = self.trainer.method.num_hint_steps(int(steps.max()) + 1, step, rng)
        return ids[: int((steps < kept).sum())]

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
