"""Checks of `echorl compare` before its first run: all checks of `echorl train`, and those of equal tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


def check_arms_early(study: Study, path: Path) -> None:
    """Check of every arm what `check_early` does, before TRL is imported.

    Args:
        path: as for `check_arms`.

    Raises:
        UserError: as `check_arms`.
    """
    from echorl.train.early import check_early
    from echorl.train.recipe import Recipe, environment
    from echorl.train.run import TRAIN

    for arm, options, origin in _arms(study, path):
        env = options.pop("env", {})
        options.pop("model_name_or_path", None)  # a plan may be checked before its policy is made
        with _naming(arm), environment(env):
            if options.get("task") is None:
                recipe = " + ".join(study.comparison.recipe)
                raise UserError(
                    f"{recipe} names no task, on whose splits `echorl compare` scores runs: add `task: NAME`."
                )
            check_early(TRAIN, Recipe(options=options, origin=origin), [])


def check_arms(study: Study, path: Path) -> dict[str, Mapping[str, Any]]:
    """Check every arm at one of its runs, and return all of its options, with the defaults and those of its method.

    Args:
        path: the study's file, which messages name for an option of an arm.

    Raises:
        UserError: an arm cannot be trained or compared; the message names it.
    """
    resolved: dict[str, Mapping[str, Any]] = {}
    for arm, options, origin in _arms(study, path):
        with _naming(arm):
            options = _check_arm(options, origin, study.comparison, rows=not resolved)
        if equal := [name for name, earlier in resolved.items() if earlier == options]:
            raise UserError(f"arms {equal[0]!r} and {arm!r} have the same options: change one or drop it.")
        resolved[arm] = options
    return resolved


def _arms(study: Study, path: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Yield every arm with the options of one of its runs, and with the file that each of them is from."""
    comparison = study.comparison
    rate = comparison.learning_rates[0] if comparison.learning_rates else None
    recipe = " + ".join(comparison.recipe)
    for arm in comparison.arms:
        options = study.options(Run(arm, rate, comparison.seeds[0]))
        of_recipe = study.recipe.keys() - comparison.arms[arm].keys()
        yield arm, options, {name: recipe if name in of_recipe else str(path) for name in options}


@contextmanager
def _naming(arm: str) -> Iterator[None]:
    """Name the arm in an error of its options."""
    try:
        yield
    except (UserError, ValueError) as error:
        raise UserError(f"arm {arm!r}: {error}") from None


def _check_arm(
    options: dict[str, Any], origin: Mapping[str, str], comparison: Comparison, *, rows: bool
) -> dict[str, Any]:
    """Return all options that the policy may depend on, with their defaults; with `rows` also make the tests' rows."""
    from echorl.train.parsing import parse
    from echorl.train.recipe import Recipe, environment
    from echorl.train.run import TRAIN, check_reporting

    env = options.pop("env", {})
    with environment(env):
        settings = parse(TRAIN, Recipe(options=options, origin=origin), [])
        check_reporting(settings.training.report_to)
        _check_training(settings.training, by_tokens=comparison.rollout_tokens is not None)
        _check_tests(settings, comparison, rows=rows)
    parts = (settings.data, settings.training, settings.model)
    values = {field.name: getattr(part, field.name) for part in parts for field in fields(part)}
    return {**with_effect(values), "env": env}


def _check_training(training: Any, *, by_tokens: bool) -> None:
    """Check the training's options; a run that ends `by_tokens` cannot depend on the number of its steps."""
    if training.save_only_model:
        raise UserError(
            "save_only_model=True leaves nothing to resume from: remove it (the comparison deletes the checkpoints)."
        )
    if training.load_best_model_at_end:
        raise UserError("load_best_model_at_end=True would score a policy of fewer tokens: remove it.")
    if not by_tokens:
        return
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


def _check_tests(settings: Settings, comparison: Comparison, *, rows: bool) -> None:
    from echorl.train.data import make_task

    for test in [*comparison.tests, *(["validation"] if comparison.grid() else [])]:
        task = make_task(settings.data, **comparison.task_options_of(test))
        assert task is not None  # `check_arms_early` has refused it, also before the stored runs of a packed study
        if (split := comparison.split_of(test)) not in task.splits:
            raise UserError(f"{split!r} is no split of the task: choose one of {', '.join(task.splits)}.")
        if rows:
            task.dataset(split, size=comparison.size_of(test)["prompts"])
