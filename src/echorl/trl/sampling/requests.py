"""Completions that are sampled beside a batch's rollouts, for its all-success groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from echorl.core.communication import Communication
from echorl.trl.batch import COMPLETION_IDS, COMPLETIONS, Generated, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import Row
from echorl.trl.verifiers import Verifiers


@dataclass(kw_only=True)
class RequestPlan(Plan):
    """One completion of each prompt, its prefix and a request; the request is no part of the completion."""

    records: ClassVar[bool] = False

    request: list[int] = field(default_factory=list)

    def sample(self, generate: Callable[..., Any], *inputs: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Return the completions, prefixes included and requests not, and no log-probs."""
        prompt_ids, images, fields, _, *more_inputs = inputs  # the fourth: the rollouts of a prompt, next to each other
        prefixes = self.prefixes or [[]] * len(prompt_ids)
        requests = Plan(prefixes=[[*prefix, *self.request] for prefix in prefixes])
        completion_ids, _ = requests.sample(generate, prompt_ids, images, fields, 1, *more_inputs, **kwargs)
        places = [(len(prefix), len(prefix) + len(self.request)) for prefix in prefixes]
        parts = zip(places, completion_ids, strict=True)
        return [ids[:start] + ids[end:] for (start, end), ids in parts], None  # its log-probs would be of no use


def solved_groups(
    rows: list[Row], generated: Generated, verifiers: Verifiers, context: Context
) -> tuple[list[int], int]:
    """Return the groups of all processes in which every rollout succeeded, and the number of groups."""
    success, _ = verifiers.verify(rows, generated[COMPLETIONS], generated[COMPLETION_IDS], context)
    groups = context.comm.gather(success).view(-1, context.args.num_generations).all(1)
    return groups.nonzero().flatten().tolist(), len(groups)


def share_of(tasks: list[Any], comm: Communication) -> list[Any]:
    """Return this process's tasks: as many on every process, the first ones again where one lacks.

    >>> from echorl.core.communication import SingleProcess
    >>> share_of([3, 3, 5, 5], SingleProcess())
    [3, 3, 5, 5]
    """
    size = -(-len(tasks) // comm.num_ranks)
    return [tasks[place % len(tasks)] for place in range(comm.rank * size, (comm.rank + 1) * size)]


def extra_tokens(sampled: Iterable[tuple[int, int]], num_rows: int, context: Context) -> list[int]:
    """Return one number a row of this process: the tokens sampled for its group, in the group's last row.

    Args:
        sampled: (group of all processes, tokens sampled for it) of each completion.
    """
    size, first_row = context.args.num_generations, context.comm.rank * num_rows
    counts = [0] * num_rows
    for group, number in sampled:
        last = (group + 1) * size - 1 - first_row
        if 0 <= last < num_rows:
            counts[last] += number
    return counts
