"""Checks of the trainer's arguments before a model is loaded: the model, reward functions and data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset
from huggingface_hub.utils import HFValidationError, validate_repo_id

from echorl.support.files import is_missing_path

NAMES = ("quickstart", "smollm2")
"""The models of `echorl.models.path`, which a trainer does not know by their names."""


def check_arguments(model: Any, reward_funcs: Any, train: Any, evaluation: Any) -> None:
    """Check what a user can mistake: names of models, reward functions, and data sets.

    Args:
        evaluation: a data set, a mapping of data sets, or None.

    Raises:
        ValueError: names the argument, its value, and what to give instead.
    """
    _check_model("model", model)
    _check_reward_funcs(reward_funcs if isinstance(reward_funcs, list) else [reward_funcs])
    _check_rows("train_dataset", train)
    if isinstance(evaluation, dict):
        for name, rows in evaluation.items():
            _check_rows(f"eval_dataset[{name!r}]", rows)
    else:
        _check_rows("eval_dataset", evaluation)


def _check_model(argument: str, model: Any) -> None:
    """Refuse a text that is neither a folder here nor, by its form, a name on the hub; the hub is not asked."""
    if not isinstance(model, str) or Path(model).is_dir():
        return
    if model in NAMES:
        raise ValueError(
            f"{argument}={model!r} is no folder here: give echorl.models.path({model!r}), the folder of this model."
        )
    with suppress(HFValidationError):
        validate_repo_id(model)
        if not is_missing_path(model):
            return
    raise ValueError(
        f"{argument}={model!r} is no folder here, and no name on the hub, but a path: correct it (it is relative to "
        f"{os.getcwd()}), or give a name such as 'Qwen/Qwen2.5-0.5B-Instruct'."
    )


def _check_reward_funcs(functions: Sequence[Any]) -> None:
    for function in functions:
        _check_model("reward_funcs", function)
        if function is not None and not isinstance(function, str) and not callable(function):
            raise ValueError(
                f"reward_funcs has {function!r}, which is no function: give functions that take `completions` and "
                "return one number for each."
            )


def _check_rows(argument: str, rows: Any) -> None:
    """Refuse a data set without rows or without the column of prompts; TRL refuses other classes."""
    if isinstance(rows, Dataset) and not len(rows):
        raise ValueError(f"{argument} has no rows: give at least one prompt.")
    columns = rows.column_names if isinstance(rows, (Dataset, IterableDataset)) else None
    if columns and "prompt" not in columns:
        raise ValueError(
            f"{argument} has no column 'prompt' among {', '.join(columns)}: rename the column of your prompts, "
            f"{argument}.rename_column({columns[0]!r}, 'prompt')."
        )


@contextmanager
def loading(model: Any, reward_funcs: Any) -> Iterator[None]:
    """Name the model where the hub does not give it, with the first line of the hub's reason.

    Raises:
        ValueError: a name on the hub cannot be loaded.
    """
    try:
        yield
    except OSError as error:
        functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        names = [name for name in [model, *functions] if isinstance(name, str) and not Path(name).is_dir()]
        if len(names) != 1:
            raise
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            f"{names[0]!r} is no folder here, and the hub does not give it ({reason}): correct the name, or give the "
            "folder of a model."
        ) from error
