"""Hooks of `negative_rollouts`: mistakes are sampled for the groups that are all right, and replace rollouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from echorl.core.communication import Communication
from echorl.core.refusals import refuse_if
from echorl.methods.base import Method
from echorl.methods.negative_rollouts import replaced_rows
from echorl.trl.batch import COMPLETION_IDS, COMPLETIONS, Capture, Demonstration, Generated, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row, SampleAgain
from echorl.trl.verifiers import Verifiers


@dataclass(kw_only=True)
class RowsPlan(Plan):
    """Attributes:
    rows: those of the data set, one for each rollout of this process.
    """

    rows: list[Row]


@dataclass(kw_only=True)
class RequestPlan(Plan):
    """One completion of each prompt and its prefix, a request; the request is no part of the completion."""

    records: ClassVar[bool] = False

    def sample(
        self,
        generate: Callable[..., Any],
        prompt_ids: list[list[int]],
        images: Any,
        fields: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        one_each = (1, *args[1:])  # TRL passes the rollouts of a prompt first, which are next to each other
        completion_ids, _ = super().sample(generate, prompt_ids, images, fields, *one_each, **kwargs)
        pairs = zip(self.prefix_lengths(len(completion_ids)), completion_ids, strict=True)
        return [ids[length:] for length, ids in pairs], None  # log-probs after the request are of no use


@dataclass(frozen=True)
class Attempt:
    """A completion sampled on request for a group of all processes; `wrong`: its verdict is a failure."""

    group: int
    wrong: bool
    demonstration: Demonstration


def in_turn(groups: list[int], num_attempts: int, comm: Communication) -> list[int]:
    """Return the groups of this process's attempts: as many on every process, the first ones again where one lacks.

    >>> from echorl.core.communication import SingleProcess
    >>> in_turn([3, 5], 2, SingleProcess())
    [3, 3, 5, 5]
    """
    wanted = [group for group in groups for _ in range(num_attempts)]
    size = -(-len(wanted) // comm.num_ranks)
    return [wanted[place % len(wanted)] for place in range(comm.rank * size, (comm.rank + 1) * size)]


class NegativeRolloutsHooks(MethodHooks):
    """Samples mistakes for the groups that are all right, and puts the wrong ones into the places of the last rollouts.

    The group statistics count a group as it was sampled, all right, and the tokens of all its rollouts, replaced ones
    and attempts included; whether it has no policy gradient is said of the group as it is trained. A mistake is not
    mined, and is no rollout of the policy (`from_policy`): the policy wrote it after another prompt.
    """

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        size = context.args.num_generations
        refuse_if(
            {
                "a rollout_func, which cannot be asked for mistakes": "rollout_func" in context.features,
                "tools: a mistake makes no tool calls": "tools" in context.features,
                f"num_generations={size}: num_mistakes={method.num_mistakes} would replace every rollout of a group "  # type: ignore[attr-defined]
                f"(write at most {size - 1})": method.num_mistakes >= size,  # type: ignore[attr-defined]
            },
            f"method={context.args.method!r} cannot be combined with {{}}.",
        )
        verifiers.check_functions(context)
        self.request = context.tokenizer(self.method.mistake_suffix, add_special_tokens=False)["input_ids"]

    def plan(self, rows: list[Row], context: Context) -> Plan:
        return RowsPlan(rows=rows)

    def replace(
        self, prompts: list[Any], generated: Generated, capture: Capture, again: SampleAgain, context: Context
    ) -> None:
        plan: Any = capture.plan
        groups, num_groups = self._all_right(plan.rows, generated, context)
        attempts = self._attempts(groups, prompts, plan.rows, again, context) if groups else []
        size, first = context.args.num_generations, context.comm.rank * len(prompts)
        wrong = [attempt.wrong for attempt in attempts]
        places = replaced_rows([attempt.group for attempt in attempts], wrong, size, self.method.num_mistakes)
        plan.demonstrations = {
            row: attempts[places[first + row]].demonstration for row in range(len(prompts)) if first + row in places
        }
        capture.num_extra = [0] * len(prompts)
        for attempt in attempts:
            last = (attempt.group + 1) * size - 1 - first
            if 0 <= last < len(prompts):
                capture.num_extra[last] += len(attempt.demonstration.ids)
        context.log.update({"method/all_success_groups": len(groups) / num_groups, "method/mistakes": len(places)})
        if attempts:
            context.log.update(
                {
                    "method/attempts_wrong": sum(wrong) / len(attempts),
                    "method/attempt_tokens": sum(len(each.demonstration.ids) for each in attempts) / len(attempts),
                }
            )

    def _all_right(self, rows: list[Row], generated: Generated, context: Context) -> tuple[list[int], int]:
        """Return the groups of all processes in which every rollout succeeded, and the number of groups."""
        success, _ = self.verifiers.verify(rows, generated[COMPLETIONS], generated[COMPLETION_IDS], context)
        groups = context.comm.gather(success).view(-1, context.args.num_generations).all(1)
        return groups.nonzero().flatten().tolist(), len(groups)

    def _attempts(
        self, groups: list[int], prompts: list[Any], rows: list[Row], again: SampleAgain, context: Context
    ) -> list[Attempt]:
        """Return the attempts at these groups' prompts, of all processes."""
        comm, size = context.comm, context.args.num_generations
        first, wanted = comm.rank * len(prompts), set(groups)
        here = [
            ((first + place) // size, prompts[place], rows[place])
            for place in range(len(prompts))
            if (first + place) % size == 0 and (first + place) // size in wanted
        ]
        of_group = {group: (prompt, row) for group, prompt, row in comm.gather_objects(here)}
        own = in_turn(groups, self.method.num_mistakes, comm)
        asked = [of_group[group] for group in own]
        generated = again(
            [prompt for prompt, _ in asked],
            RequestPlan(prefixes=[self.request] * len(own)),
            temperature=self.method.mistake_temperature,
            top_p=self.method.mistake_top_p,
        )
        completions, ids = generated[COMPLETIONS], generated[COMPLETION_IDS]
        success, has_verdict = self.verifiers.verify([row for _, row in asked], completions, ids, context)
        wrong = (has_verdict & ~success).tolist()
        pairs = zip(own, wrong, completions, ids, strict=True)
        return comm.gather_objects(
            [Attempt(group, is_wrong, Demonstration(text, tokens)) for group, is_wrong, text, tokens in pairs]
        )
