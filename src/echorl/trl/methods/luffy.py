"""LUFFY's hooks: a demonstration in the place of one rollout of its group."""

from __future__ import annotations

import torch

from echorl.methods.base import Method
from echorl.tasks.demonstrations import demonstration_text
from echorl.trl.batch import Demonstration, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import Row
from echorl.trl.sampling.demonstrations import as_completion, check_demonstrations, opening, tokenize
from echorl.trl.sampling.row_keys import row_digest
from echorl.trl.sampling.traces import TracesHooks
from echorl.trl.verifiers import Verifiers

OUTCOMES = ("used", "missing", "too_long", "wrong")
"""Outcomes for a group's demonstration, each logged as its share of groups, `method/trace_...`."""


class TraceHooks(TracesHooks):
    """The row's demonstration replaces the last rollout of each group, if it is short enough and correct.

    The replaced rollout counts in the sampled tokens.
    """

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
