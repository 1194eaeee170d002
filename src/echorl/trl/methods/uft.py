"""UFT's hooks: the beginning of the demonstration as the beginning of every rollout of its group."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from echorl.core.losses import echo_loss
from echorl.core.rollouts import Rollouts
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.methods.base import Method
from echorl.tasks.demonstrations import demonstration_text
from echorl.trl.batch import Capture, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.prompts import without_images
from echorl.trl.sampling.demonstrations import check_demonstrations, opening, tokenize
from echorl.trl.sampling.prefixes import check_prefixes
from echorl.trl.verifiers import Verifiers


class HintHooks(MethodHooks):
    """The prefix is a hint, and the NLL of its tokens is added to the loss."""

    needs_logps = True

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.column = check_demonstrations(context)
        check_prefixes(context)
        self.opening = opening(context)
        self.delimiters = StepDelimiters.from_tokenizer(context.tokenizer)

    def plan(self, rows: list[Row], context: Context) -> Plan:
        hints = [self.hint(example, context) for example in rows]
        lengths = context.comm.gather(torch.tensor([float(len(hint)) for hint in hints], device=context.comm.device))
        shares = {"hint_tokens": lengths.mean(), "hinted": (lengths > 0).float().mean()}
        context.log.update({f"method/{name}": float(value) for name, value in shares.items()})
        return Plan(prefixes=hints)

    def hint(self, example: Row, context: Context) -> list[int]:
        """Return a row's hint, equal for all rollouts of a prompt on all processes, and drawn anew at each step."""
        text = demonstration_text(example[self.column])
        if text is None:
            return []
        ids = tokenize(context.tokenizer, text.removeprefix(self.opening))[:-1]
        if not ids:
            return []
        steps = segment_steps(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool), self.delimiters)[0]
        prompt = without_images(example["prompt"])  # an image's text is its address
        rng = random.Random(f"{context.args.seed} {context.step} {prompt} {text}")
        kept = self.method.num_hint_steps(int(steps.max()) + 1, context.step, rng)
        return ids[: int((steps < kept).sum())]

    def carried(self, out: dict[str, Any], rollouts: Rollouts, capture: Capture, context: Context) -> dict[str, Tensor]:
        ids = out["completion_ids"]
        lengths = torch.tensor(capture.plan.prefix_lengths(ids.shape[0]), device=ids.device)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths.unsqueeze(1)
        mask &= out["completion_mask"].bool()  # the forward attends to nothing of a rollout masked as truncated
        return {"hint_mask": mask.float(), "hint_count": context.comm.gather(mask.sum()).sum().float()}

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        """Return `hint_weight` times the mean NLL of all the hints' tokens of a generation batch."""
        inputs = micro_batch.inputs
        count = micro_batch.share_of(inputs["hint_count"])
        return self.method.hint_weight * echo_loss(micro_batch.logps, inputs["hint_mask"], num_prompts=count)

    def num_supervised_tokens(self, inputs: dict[str, Any]) -> Tensor:
        return inputs["hint_mask"].sum()
