"""Hooks of `negative_rollouts`: mistakes are sampled for the groups that are all right, and replace rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from echorl.core.refusals import refuse_if
from echorl.methods.base import Method
from echorl.methods.negative_rollouts import replaced_rows
from echorl.trl.batch import COMPLETION_IDS, COMPLETIONS, Demonstration, Generated, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.sampling.requests import RequestPlan, extra_tokens, share_of, solved_groups
from echorl.trl.verifiers import Verifiers


@dataclass(frozen=True)
class Task:
    """An attempt to make: its group of all processes, prompt and row of the data set, and the tokens to continue."""

    group: int
    prompt: Any
    row: Row
    prefix: list[int]


@dataclass(frozen=True)
class Attempt:
    """A completion sampled for a group of all processes: `num_sampled` tokens; `wrong`: its verdict is a failure."""

    group: int
    num_sampled: int
    wrong: bool
    demonstration: Demonstration


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
        return MistakePlan(rows=rows, hooks=self, context=context)

    def attempts(self, rows: list[Row], prompts: list[Any], generated: Generated, context: Context) -> list[Attempt]:
        """Return the attempts of all processes at mistakes, for the rollouts generated."""
        groups, num_groups = solved_groups(rows, generated, self.verifiers, context)
        context.log.update({"method/all_success_groups": len(groups) / num_groups})
        if not groups:
            return []
        tasks = self._tasks(groups, rows, prompts, generated, context)
        attempts = self._attempts(share_of(tasks, context.comm), context)
        context.log.update(
            {
                "method/attempts_wrong": sum(attempt.wrong for attempt in attempts) / len(attempts),
                "method/attempt_tokens": sum(attempt.num_sampled for attempt in attempts) / len(attempts),
            }
        )
        return attempts

    def _tasks(
        self, groups: list[int], rows: list[Row], prompts: list[Any], generated: Generated, context: Context
    ) -> list[Task]:
        """Return the attempts to make, of all processes: one for each of the last rollouts of these groups."""
        comm, size = context.comm, context.args.num_generations
        first_row, tasks = comm.rank * len(prompts), []
        responses = zip(prompts, rows, generated[COMPLETION_IDS], strict=True)
        for place, (prompt, row, ids) in enumerate(responses, first_row):
            if place // size in groups and place % size >= size - self.method.num_mistakes:
                # A rollout ends with EOS, or in the middle: its last token is not to be continued.
                tasks.append(Task(place // size, prompt, row, ids[: int(self.method.mistake_prefix * (len(ids) - 1))]))
        return comm.gather_objects(tasks)

    def _attempts(self, tasks: list[Task], context: Context) -> list[Attempt]:
        """Return the attempts of all processes, given this one's tasks."""
        generated = context.policy.sample(
            [task.prompt for task in tasks],
            RequestPlan(prefixes=[task.prefix for task in tasks], request=self.request),
            temperature=self.method.mistake_temperature,
            top_p=self.method.mistake_top_p,
        )
        completions, ids = generated[COMPLETIONS], generated[COMPLETION_IDS]
        success, has_verdict = self.verifiers.verify([task.row for task in tasks], completions, ids, context)
        wrong = (has_verdict & ~success).tolist()
        attempts = [
            Attempt(
                group=task.group,
                num_sampled=len(tokens) - len(task.prefix),
                wrong=is_wrong and len(tokens) <= context.args.max_completion_length,
                demonstration=Demonstration(text, tokens),
            )
            for task, is_wrong, text, tokens in zip(tasks, wrong, completions, ids, strict=True)
        ]
        return context.comm.gather_objects(attempts)


@dataclass(kw_only=True)
class MistakePlan(Plan):
    """Mistakes in the places of the last rollouts of groups that are all right.

    Attributes:
        rows: those of the data set, one for each rollout of this process.
    """

    rows: list[Row]
    hooks: NegativeRolloutsHooks
    context: Context

    def replace(self, prompts: list[Any], generated: Generated) -> list[int]:
        """Put wrong attempts into the places of rollouts; return the tokens sampled besides, one number a row."""
        attempts = self.hooks.attempts(self.rows, prompts, generated, self.context)
        size, first_row = self.context.args.num_generations, self.context.comm.rank * len(prompts)
        groups, wrong = [attempt.group for attempt in attempts], [attempt.wrong for attempt in attempts]
        places = replaced_rows(groups, wrong, size, self.hooks.method.num_mistakes)
        self.context.log.update({"method/mistakes": len(places)})
        attempt_of_row = {row: places[first_row + row] for row in range(len(prompts)) if first_row + row in places}
        self.demonstrations = {row: attempts[number].demonstration for row, number in attempt_of_row.items()}
        sampled = ((attempt.group, attempt.num_sampled) for attempt in attempts)
        return extra_tokens(sampled, len(prompts), self.context)
