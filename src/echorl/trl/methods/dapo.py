"""DAPO's hooks: groups whose verdicts do not differ are replaced by others, sampled in further rounds."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from datasets import IterableDataset
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.trl.context import Context
from echorl.trl.excluded import MEAN_OVER_ROWS
from echorl.trl.methods.base import Row
from echorl.trl.sampling.rounds import Round, RoundsHooks
from echorl.trl.sampling.stream import PromptStream
from echorl.trl.verifiers import Verifiers

ACCEPTED = ("mixed", "uniform_reward")
"""The kinds of group whose verdicts differ: accuracy neither 0 nor 1, for any rewards."""


def groups_to_draw(missing: int, num_generations: int, num_processes: int) -> int:
    """Return the largest number of groups, at most `missing`, whose rollouts the processes can share evenly.

    With no more than `missing` every accepted group has a place. On a few processes it is all or nearly all of them.

    >>> [groups_to_draw(5, 8, processes) for processes in (1, 2, 8, 16, 32)]
    [5, 5, 5, 4, 4]
    """
    unit = num_processes // math.gcd(num_processes, num_generations)
    return missing - missing % unit


class DynamicSamplingHooks(RoundsHooks):
    """Samples until all places of the batch hold rollouts of groups whose verdicts differ, for `max_rounds` at most.

    The first round takes the loader's prompts, each further round as many as are missing, from a separate stream; so
    every accepted group is used.
    """

    once: ClassVar = {"dynamic_sampling": False}

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.stream = PromptStream(len(context.rows), context.args.seed)

    def obstacles(self, context: Context) -> dict[str, bool]:
        beta, loss_type = context.args.beta, context.args.loss_type
        return {
            "a training set without random access (load its rows as a Dataset)": isinstance(
                context.rows, IterableDataset
            ),
            **super().obstacles(context),
            f"beta={beta} and loss_type={loss_type!r}, a mean over rows that would count the places that stay empty in "
            "the KL (use 'dapo', or beta 0)": beta != 0.0 and loss_type in MEAN_OVER_ROWS,
            "loss_type='bnpo', a mean over each micro-batch: those that hold nothing but places that stay empty would "
            "still count (use 'dapo')": loss_type == "bnpo",
        }

    def filtered_groups(self, rollouts: Rollouts) -> Tensor:
        return ~rollouts.groups.of_kind(*ACCEPTED)

    def next_rows(self, rounds: list[Round], rows: list[Row], context: Context) -> list[Row]:
        """Return this process's rows of the next round; [] once the batch is full or `max_rounds` is reached."""
        if not rounds:
            return rows
        if len(rounds) >= self.method.max_rounds:
            return []
        comm, generations = context.comm, context.args.num_generations
        missing = len(rows) * comm.num_ranks // generations - _count(rounds, accepted=True, size=generations)
        drawn = groups_to_draw(missing, generations, comm.num_ranks)
        numbers = self.stream.draw(drawn)
        size = drawn * generations // comm.num_ranks
        places = range(comm.rank * size, (comm.rank + 1) * size)
        examples = [context.rows[numbers[place // generations]] for place in places]
        return [{key: value for key, value in example.items() if key in rows[0]} for example in examples]

    def metrics(self, rounds: list[Round], num_groups: int, context: Context) -> dict[str, float]:
        accepted, filtered = (
            _count(rounds, accepted=flag, size=context.args.num_generations) for flag in (True, False)
        )
        return {
            "rounds": len(rounds),
            "num_sampled_prompts": accepted + filtered,
            "filtered": filtered,
            "filled": num_groups - accepted,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.stream.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stream.drawn = state.get("drawn", 0)


def _count(rounds: list[Round], *, accepted: bool, size: int) -> int:
    """Return the number of groups of `size` rollouts, over all processes, that were accepted, or were not."""
    return sum(int((each.accepted == accepted).sum()) for each in rounds) // size
