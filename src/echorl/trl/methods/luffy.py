"""LUFFY's hooks: a demonstration in the place of one rollout of its group, and its term of the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echorl.methods.base import Method
from echorl.tasks.demonstrations import demonstration_text
from echorl.trl.batch import Capture, Demonstration, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.demonstrations import as_completion, check_demonstrations, opening, tokenize
from echorl.trl.sampling.row_keys import row_digest
from echorl.trl.verifiers import Verifiers

OUTCOMES = ("used", "missing", "too_long", "wrong")
"""Outcomes for a group's demonstration, each logged as its share of groups, `method/trace_...`."""


class TraceHooks(MethodHooks):
    """The row's demonstration replaces the last rollout of each group, if it is short enough and correct.

    The replaced rollout counts in the sampled tokens.
    """

    needs_logps = True

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.column = check_demonstrations(context)
        verifiers.check_functions(context)
        self.opening = opening(context)
        self.verified: dict[bytes, bool] = {}  # by a digest of row and text, which together are as large as the rows

    def plan(self, rows: list[Row], context: Context) -> Plan:
        plan, outcomes = Plan(), dict.fromkeys(OUTCOMES, 0)
        first = context.comm.rank * len(rows)
        for row, example in enumerate(rows):
            if (first + row + 1) % context.args.num_generations == 0:
                outcome, demonstration = self._check_demonstration(example, context)
                outcomes[outcome] += 1
                if demonstration is not None:
                    plan.demonstrations[row] = demonstration
        self._log(outcomes, context)
        return plan

    def _check_demonstration(self, example: Row, context: Context) -> tuple[str, Demonstration | None]:
        """Return one of `OUTCOMES`, and the demonstration if it is used."""
        text = demonstration_text(example[self.column])
        if text is None:
            return "missing", None
        ids = tokenize(context.tokenizer, text.removeprefix(self.opening))
        if len(ids) > context.args.max_completion_length:
            return "too_long", None
        if not self._is_correct(text, ids, example, context):
            return "wrong", None
        return "used", Demonstration(text, ids)

    def _is_correct(self, text: str, ids: list[int], example: Row, context: Context) -> bool:
        """Return the verifiers' verdict; they are called once for each row and demonstration."""
        key = row_digest(example, text)
        if key not in self.verified:
            completion = as_completion(text, example["prompt"])
            success, _ = self.verifiers.verify([example], [completion], [ids], context)
            self.verified[key] = bool(success)
        return self.verified[key]

    def _log(self, outcomes: dict[str, int], context: Context) -> None:
        counts = torch.tensor([outcomes[name] for name in OUTCOMES], device=context.comm.device)
        totals = context.comm.sum(counts).tolist()
        shares = zip(OUTCOMES, totals, strict=True)
        context.log.update({f"method/trace_{name}": count / max(1, sum(totals)) for name, count in shares})
        if not totals[0]:
            context.log.warn_once("no_trace", "no demonstration of a batch could be used: it trains on rollouts alone.")

    def rewards(self, rewards: Tensor, capture: Capture, context: Context) -> Tensor:
        """Return the rewards, without those of traces that do not count in their groups."""
        size = len(capture.completion_ids)
        from_policy = context.comm.gather(capture.plan.from_policy(size, context.comm.device))
        policy_rewards = rewards.masked_fill(~from_policy.unsqueeze(1), torch.nan)
        mean = self.verifiers.total(policy_rewards).nanmean()  # TRL's `reward` includes the traces
        if not mean.isnan():
            context.log.update({"method/policy_reward": float(mean)})
        return rewards if self.method.in_group else policy_rewards

    def carried(self, out: dict[str, Any], capture: Capture, context: Context) -> dict[str, Tensor]:
        """Return the traces' advantages under a separate key: TRL's loss would need their sampled log-probs."""
        ids = out["completion_ids"]
        trace = ~capture.plan.from_policy(ids.shape[0], ids.device)
        tokens = out["completion_mask"] * trace.unsqueeze(1)
        return {
            "trace_mask": tokens.float(),
            "trace_advantages": torch.where(trace, out["advantages"], 0.0),
            "advantages": torch.where(trace, 0.0, out["advantages"]),
            "trace_count": context.comm.gather(tokens.sum()).sum().float(),
        }

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        inputs, logps, args = micro_batch.inputs, micro_batch.logps, micro_batch.context.args
        mask = inputs["trace_mask"]
        per_token = self.method.trace_loss(logps.float(), inputs["trace_advantages"].unsqueeze(1))
        total = per_token.masked_fill(mask == 0, 0.0).sum()
        if self.method.mean_over_tokens:
            return total / micro_batch.share_of(inputs["trace_count"])
        return total / (mask.shape[0] * args.max_completion_length) / micro_batch.accumulation

    def num_supervised_tokens(self, inputs: dict[str, Any]) -> Tensor:
        """Return the number of trace tokens, or 0 where the trace has an advantage and counts as a row of its group."""
        return super().num_supervised_tokens(inputs) if self.method.in_group else inputs["trace_mask"].sum()
