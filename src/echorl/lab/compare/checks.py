"""Checks of `echorl compare` before the first run: those of `echorl train`, and those of equal tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.run import with_effect
from echorl.lab.compare.study import Study
from echorl.support.errors import UserError

if TYPE_CHECKING:
    from echorl.train.parsing import Settings

RATIOS = ("warmup_steps", "warmup_ratio", "logging_steps", "save_steps", "eval_steps")
"""Options that below 1 are a share of all steps."""


def check_arms(study: Study, path: Path) -> dict[str, Mapping[str, Any]]:
    """Check every arm at one of its runs. Returns all of its options, defaults and what the method sets included.

    Args:
        path: the study's file, to be named where an option is the arm's or the study's.

    Raises:
        UserError: an arm cannot be run or compared; the message names it.
    """
    comparison = study.comparison
    rate = comparison.learning_rates[0] if comparison.learning_rates else None
    seen: dict[str, Mapping[str, Any]] = {}
    for arm in comparison.arms:
        options = study.options(Run(arm, rate, comparison.seeds[0]))
        recipe = " + ".join(comparison.recipe)
        of_recipe = study.recipe.keys() - comparison.arms[arm].keys()
        origin = {name: recipe if name in of_recipe else str(path) for name in options}
        try:
            resolved = _check_arm(options, origin, recipe, comparison, rows=not seen)
        except (UserError, ValueError) as error:
            raise UserError(f"arm {arm!r}: {error}") from None
        for other, options_of_other in seen.items():
            if resolved == options_of_other:
                raise UserError(f"arms {other!r} and {arm!r} have the same options: change one or drop it.")
        seen[arm] = resolved
    return seen


def _check_arm(
    options: dict[str, Any], origin: Mapping[str, str], recipe: str, comparison: Comparison, *, rows: bool
) -> dict[str, Any]:
    """All options that the policy may depend on, defaults included; with `rows` the tests' rows are made, too."""
    from echorl.train.parsing import parse
    from echorl.train.recipe import Recipe, environment
    from echorl.train.run import TRAIN

    options = dict(options)
    env = options.pop("env", {})
    with environment(env):
        settings = parse(TRAIN, Recipe(options=options, origin=origin), [])
        if comparison.rollout_tokens is not None:
            _check_schedule(settings.training)
        _check_training(settings.training)
        _check_tests(settings, recipe, comparison, rows=rows)
    return {**_resolved(settings), "env": env}


def _check_schedule(training: Any) -> None:
    """Refuse what needs to know the number of steps beforehand."""
    scheduler = str(getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type))
    if not scheduler.startswith("constant"):
        raise UserError(
            f"lr_scheduler_type={scheduler} decays over steps, but runs end at a number of tokens: set constant or "
            "constant_with_warmup."
        )
    for name in RATIOS:
        value = vars(training).get(name)
        if value is not None and 0 < value < 1:
            raise UserError(
                f"{name}={value} is a share of all steps, but runs end at a number of tokens: give a number of steps."
            )


def _check_training(training: Any) -> None:
    if training.save_only_model:
        raise UserError("save_only_model=True leaves nothing to resume from: take it out (checkpoints are removed).")
    if training.load_best_model_at_end:
        raise UserError("load_best_model_at_end=True takes a policy of fewer tokens: take it out.")


def _check_tests(settings: Settings, recipe: str, comparison: Comparison, *, rows: bool) -> None:
    from echorl.train.data import make_task

    for test in [*comparison.tests, *(["validation"] if comparison.grid() else [])]:
        task = make_task(settings.data, **comparison.task_options_of(test))
        if task is None:
            raise UserError(f"{recipe} names no task: echorl compare scores runs on a task's splits.")
        if (split := comparison.split_of(test)) not in task.splits:
            raise UserError(f"{split!r} is no split of the task; it has {', '.join(task.splits)}.")
        if rows:
            task.dataset(split, size=comparison.size_of(test)["prompts"])


def _resolved(settings: Settings) -> dict[str, Any]:
    parts = (settings.data, settings.training, settings.model)
    return with_effect({field.name: getattr(part, field.name) for part in parts for field in fields(part)})
