"""LUFFY's part: the demonstration in the place of one rollout of its group, and its own term of the loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.tasks.demonstrations import demonstration_text
from echorl.trl.parts.base import COMPLETION_IDS, COMPLETIONS, LOGPROBS, Generated, Part
from echorl.trl.parts.demonstrations import as_completion, check_demonstrations, opening, tokenize
from echorl.trl.parts.row_keys import row_digest
from echorl.trl.verdicts import call_verifiers

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

OUTCOMES = ("used", "missing", "too_long", "wrong")
"""What becomes of a group's demonstration, logged as its share of groups, `method/trace_...`."""


class Traces(Part):
    """The last rollout of each group gives way to the row's demonstration, if there is one that is short and right.

    The policy has then sampled that rollout in vain; it counts in the tokens spent.
    """

    needs_logps = True

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        self.column = check_demonstrations(trainer)
        check_settings(trainer)
        self.opening = opening(trainer)
        self.verified: dict[bytes, bool] = {}  # by a digest of row and text, which together are as large as the rows
        self.traces: dict[int, tuple[str, list[int]]] = {}  # row -> text, tokens
        self.lengths: list[int] = []

    def begin(self, inputs: list[dict[str, Any]]) -> None:
        self.traces = {}
        outcomes = dict.fromkeys(OUTCOMES, 0)
        first = self.trainer.accelerator.process_index * len(inputs)
        for row, example in enumerate(inputs):
            if (first + row + 1) % self.trainer.num_generations == 0:
                outcomes[self._consider(row, example)] += 1
        self._log(outcomes)

    def _consider(self, row: int, example: dict[str, Any]) -> str:
        text = demonstration_text(example[self.column])
        if text is None:
            return "missing"
        ids = tokenize(self.trainer, text.removeprefix(self.opening))
        if len(ids) > self.trainer.max_completion_length:
            return "too_long"
        if not self._is_right(text, ids, example):
            return "wrong"
        self.traces[row] = (text, ids)
        return "used"

    def _is_right(self, text: str, ids: list[int], example: dict[str, Any]) -> bool:
        """The verifiers' word, asked once for each row and demonstration."""
        key = row_digest(example, text)
        if key not in self.verified:
            completion = as_completion(text, example["prompt"])
            self.verified[key] = call_verifiers(self.trainer, example, completion, ids)
        return self.verified[key]

    def _log(self, outcomes: dict[str, int]) -> None:
        counts = torch.tensor([outcomes[name] for name in OUTCOMES], device=self.trainer.accelerator.device)
        totals = self.trainer.accelerator.reduce(counts, reduction="sum").tolist()
        for name, count in zip(OUTCOMES, totals, strict=True):
            self.trainer.add_metric(f"trace_{name}", count / max(1, sum(totals)), family="method")
        if not totals[0]:
            self.trainer.warn_once(
                "no_trace", "no demonstration of a batch could be used: it trains on rollouts alone."
            )

    def generated(self, generated: Generated) -> Generated:
        self.lengths = [len(ids) for ids in generated[COMPLETION_IDS]]
        for row, (text, ids) in self.traces.items():
            generated[COMPLETION_IDS][row] = ids
            chat = not isinstance(generated[COMPLETIONS][row], str)
            generated[COMPLETIONS][row] = [{"role": "assistant", "content": text}] if chat else text
            if generated[LOGPROBS] is not None:
                generated[LOGPROBS][row] = [math.nan] * len(ids)
        return generated

    def spent(self, lengths: list[int]) -> list[int]:
        return self.lengths

    def sampled(self, size: int) -> Tensor:
        mine = super().sampled(size)
        mine[list(self.traces)] = False
        return mine

    def rewards(self, rewards: Tensor) -> Tensor:
        """A trace that is no member of its group has no reward there."""
        written = self.trainer.accelerator.gather(self.sampled(len(self.lengths)))
        own = rewards.masked_fill(~written.unsqueeze(1), torch.nan)
        self._log_reward(own)
        return rewards if self.trainer.method.in_group else own

    def _log_reward(self, rewards: Tensor) -> None:
        """The mean of what the policy's rows got: TRL's `reward` has the traces in it."""
        total = (rewards * self.trainer.reward_weights.to(rewards.device)).nansum(1)
        total = total[~rewards.isnan().all(1)]
        if len(total):
            self.trainer.add_metric("policy_reward", float(total.mean()), family="method")

    def annotate(self, out: dict[str, Any]) -> None:
        """Move the trace's advantage from TRL's loss, which would need its sampled log-probs, to `loss`."""
        trace = ~self.sampled(out["completion_ids"].shape[0])
        tokens = out["completion_mask"] * trace.unsqueeze(1)
        out["trace_mask"] = tokens.float()
        out["trace_advantages"] = torch.where(trace, out["advantages"], 0.0)
        out["advantages"] = torch.where(trace, 0.0, out["advantages"])
        out["trace_count"] = self.trainer.accelerator.gather(tokens.sum()).sum().float()

    def loss(self, inputs: dict[str, Any], logps: Tensor) -> Tensor:
        method, mask = self.trainer.method, inputs["trace_mask"]
        per_token = method.trace_loss(logps.float(), inputs["trace_advantages"].unsqueeze(1))
        total = per_token.masked_fill(mask == 0, 0.0).sum()
        if method.mean_over_tokens:
            return total / self.trainer.share_of(inputs["trace_count"])
        rows = mask.shape[0] * self.trainer.max_completion_length
        return total / rows / self.trainer.current_gradient_accumulation_steps

    def num_learned(self, inputs: dict[str, Any]) -> Tensor:
        """A trace's tokens where they are learned at any reward; a trace with an advantage is a row as any other."""
        return super().num_learned(inputs) if self.trainer.method.in_group else inputs["trace_mask"].sum()


def check_settings(trainer: EchoGRPOTrainer) -> None:
    """Refuse verifiers that cannot be asked about one text.

    Raises:
        ValueError: names the verifier and the way out.
    """
    for column in trainer.verifiers:
        if isinstance(trainer.reward_funcs[column], torch.nn.Module):
            raise ValueError(
                f"the verifier {trainer.reward_func_names[column]!r} is a reward model, and method="
                f"{trainer.args.method!r} asks verifiers about demonstrations: name a reward function in "
                "echo_success_reward_func."
            )
