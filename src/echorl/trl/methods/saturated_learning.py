"""Hooks of `saturated_learning`: weights of ranked rollouts, and the term of the loss that has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echorl.core.losses import echo_loss
from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.methods.saturated_learning import certainty
from echorl.trl.batch import Capture, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.sampling.judgements import JudgingPlan, check_judging
from echorl.trl.sources import sampled_logps
from echorl.trl.verifiers import Verifiers


class RankHooks(MethodHooks):
    """The preference loss as weights of tokens, so that the rollouts of a pair need not share a micro-batch.

    RRHF is a sum over rollouts whatever the policy. DPO's gradient is one as long as the policy is the one that
    sampled, that is in the first optimiser step of a generation batch.
    """

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.needs_logps = self.method.coef > 0
        args = context.args
        micro_steps = args.steps_per_generation * args.num_iterations
        if self.method.loss == "dpo" and args.gradient_accumulation_steps % micro_steps:
            raise ValueError(
                f"steps_per_generation={args.steps_per_generation}, num_iterations={args.num_iterations} and "
                f"gradient_accumulation_steps={args.gradient_accumulation_steps} take several optimiser steps of a "
                "generation batch, which loss='dpo' of method='saturated_learning' cannot have (a pair's rollouts lie "
                "in different ones): set gradient_accumulation_steps to steps_per_generation x num_iterations, or "
                "method_options={'loss': 'rrhf'}."
            )
        if self.method.judges:
            check_judging(self.method.judge_prompt, context)

    def plan(self, rows: list[Row], context: Context) -> Plan:
        return JudgingPlan(method=self.method, context=context) if self.method.judges else Plan()

    def carried(self, out: dict[str, Any], rollouts: Rollouts, capture: Capture, context: Context) -> dict[str, Tensor]:
        """Return the weights of the rollouts' log-probs by the policy's judgement, if it was asked."""
        plan = capture.plan
        return self._weights(out, plan.scores, rollouts, context) if isinstance(plan, JudgingPlan) else {}

    def carried_by_entropy(
        self, out: dict[str, Any], entropy: Tensor, rollouts: Rollouts, context: Context
    ) -> dict[str, Tensor]:
        """Return these weights by the rollouts' entropies."""
        has_entropy = rollouts.in_loss & entropy.isfinite()
        means = entropy.masked_fill(~has_entropy, 0.0).sum(1) / has_entropy.sum(1)  # NaN where there is none
        return self._weights(out, context.comm.gather(certainty(means)), rollouts, context)

    def _weights(self, out: dict[str, Any], scores: Tensor, rollouts: Rollouts, context: Context) -> dict[str, Tensor]:
        """Return what the loss reads, given the scores [N] of all processes' rollouts."""
        log_ratio = self._log_ratio(out, rollouts, context)
        weights = self.method.rollout_weights(scores, context.comm.gather(log_ratio), rollouts)
        weights = weights[rollouts.local].unsqueeze(1) * rollouts.in_loss
        if self.method.loss == "rrhf":
            weights = weights / rollouts.in_loss.sum(1, keepdim=True).clamp(min=1)
        is_ranked = rollouts.groups.sum(self.method.ranked_rows(rollouts) & scores.isfinite()).bool()
        context.log.update({"method/ranked": float(is_ranked.float().mean())})
        return {"rank_weights": weights, "rank_count": torch.tensor(float(len(is_ranked)), device=weights.device)}

    def _log_ratio(self, out: dict[str, Any], rollouts: Rollouts, context: Context) -> Tensor:
        """Return log(pi / pi_ref) of this process's rollouts, summed over tokens; 0 without a reference model."""
        reference = out.get("ref_per_token_logps")
        if self.method.loss != "dpo" or reference is None:
            return torch.zeros_like(rollouts.rewards[rollouts.local])
        rows = self.method.ranked_rows(rollouts)[rollouts.local]
        logps = sampled_logps(out, rows, context)
        counted = rollouts.in_loss & rows.unsqueeze(1)
        return (logps - reference).masked_fill(~counted, 0.0).sum(1)

    def loss(self, micro_batch: MicroBatch) -> Tensor:
        inputs = micro_batch.inputs
        count = micro_batch.share_of(inputs["rank_count"])
        return self.method.coef * echo_loss(micro_batch.logps, inputs["rank_weights"], num_prompts=count)

    def num_supervised_tokens(self, inputs: dict[str, Any]) -> Tensor:
        if not self.needs_logps:
            return super().num_supervised_tokens(inputs)
        return (inputs["rank_weights"] != 0).sum()
