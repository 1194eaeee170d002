"""ERPO's hooks: the number of all-success visits of each prompt, and temperatures for the rows of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.trl.batch import Capture, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import Row
from echorl.trl.sampling.memory import MemoryHooks
from echorl.trl.sampling.processors import check_processors
from echorl.trl.verifiers import Verifiers


class DividedLogits:
    """A logits processor that divides the logits of each row by a number."""

    def __init__(self, divisors: list[float]) -> None:
        self.divisors = divisors

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores / torch.tensor(self.divisors, dtype=scores.dtype, device=scores.device).unsqueeze(1)


class HotterSamplingHooks(MemoryHooks):
    """Remembers the numbers of all-success visits, and samples each prompt at the temperature of its number."""

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        if self.method.step:
            check_processors(context)

    def plan(self, rows: list[Row], context: Context) -> Plan:
        plan, base, size = super().plan(rows, context), context.args.temperature, context.args.num_generations
        temperatures = [self.method.temperature(base, self.entries.get(key, 0)) for key in plan.keys]
        hotter = sum(temperature > base for temperature in temperatures)
        context.log.update({"method/hotter": hotter / len(temperatures)})
        if hotter:
            context.log.update({"method/temperature": sum(temperatures) / len(temperatures)})
            first = context.comm.rank * len(rows)
            divisors = [temperatures[(first + row) // size] / base for row in range(len(rows))]
            plan.processors = [DividedLogits(divisors)]
        return plan

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages unchanged, and count all-success visits."""
        solved = rollouts.groups.of_kind("all_success").tolist()
        for key, all_success in zip(capture.plan.keys, solved, strict=True):
            if all_success:
                self.entries[key] = self.entries.get(key, 0) + 1
        return advantages
