"""Traces in the place of rollouts, and their term of the loss: what LUFFY and ExGRPO share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks
from echorl.trl.micro_batch import MicroBatch


class TracesHooks(MethodHooks):
    """The demonstrations of a subclass's `plan` are learned by a term of their own (see `Traced`)."""

    needs_logps = True

    def rewards(self, rewards: Tensor, capture: Capture, context: Context) -> Tensor:
        """Return the rewards, without those of traces that do not count in their groups."""
        size = len(capture.completion_ids)
        from_policy = context.comm.gather(capture.plan.from_policy(size, context.comm.device))
        policy_rewards = rewards.masked_fill(~from_policy.unsqueeze(1), torch.nan)
        mean = self.verifiers.total(policy_rewards).nanmean()  # TRL's `reward` includes the traces
        if not mean.isnan():
            context.log.update({"method/policy_reward": float(mean)})
        return rewards if self.method.in_group else policy_rewards

    def carried(self, out: dict[str, Any], rollouts: Rollouts, capture: Capture, context: Context) -> dict[str, Tensor]:
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
        log_ratio = self.log_ratio(logps.float(), inputs)
        per_token = self.method.trace_loss(log_ratio, inputs["trace_advantages"].unsqueeze(1))
        total = per_token.masked_fill(mask == 0, 0.0).sum()
        if self.method.mean_over_tokens:
            return total / micro_batch.share_of(inputs["trace_count"])
        return total / (mask.shape[0] * args.max_completion_length) / micro_batch.accumulation

    def log_ratio(self, logps: Tensor, inputs: dict[str, Any]) -> Tensor:
        """Return the logarithm of the policy's probabilities over those of the trace's author, which are 1 here."""
        return logps

    def num_supervised_tokens(self, inputs: dict[str, Any]) -> Tensor:
        """Return the number of trace tokens, or 0 where the trace has an advantage and counts as a row of its group."""
        return super().num_supervised_tokens(inputs) if self.method.in_group else inputs["trace_mask"].sum()
