"""Tasks: prompts, and verifiers that are safe on hostile text. `load_task(name, **options)` makes one.

Nothing heavy is imported before a task is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from echorl.tasks.base import Task, Verifier
from echorl.tasks.geometry3k import Geometry3K
from echorl.tasks.gsm8k import GSM8K
from echorl.tasks.openr1_math import OpenR1Math
from echorl.tasks.reasoning_gym import ReasoningGym
from echorl.tasks.word_problems import WordProblems

__all__ = [
    "GSM8K",
    "TASKS",
    "Geometry3K",
    "OpenR1Math",
    "ReasoningGym",
    "Task",
    "Verifier",
    "WordProblems",
    "load_task",
]

TASKS: Mapping[str, type[Any]] = {
    "reasoning_gym": ReasoningGym,
    "gsm8k": GSM8K,
    "word_problems": WordProblems,
    "openr1_math": OpenR1Math,
    "geometry3k": Geometry3K,
}
"""Task name -> its class, a frozen dataclass with the options as fields."""


def load_task(name: str, **options: Any) -> Task:
    """The task of this name with these options.

    Raises:
        ValueError: an unknown name or option.

    >>> load_task("gsm8k", chat=True).chat
    True
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose one of {', '.join(TASKS)}")
    names = [field.name for field in dataclasses.fields(TASKS[name])]
    for option in options:
        if option not in names:
            raise ValueError(f"task {name!r} has no option {option!r}; it has {', '.join(names)}")
    return TASKS[name](**options)
