"""Mistakes in a recipe or on the command line that are refused before torch and TRL are imported."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from echorl.support.errors import UserError, nearest, unknown_word
from echorl.support.method_names import check_method_name
from echorl.support.texts import parse_mapping, problem_of_name
from echorl.train.data import check_first_row, find_task
from echorl.train.parsing import Command
from echorl.train.recipe import Recipe

CLOSE = 0.85
"""An unknown name this similar to an option of echorl's is that option, misspelt: none of TRL's is."""


def check_early(command: Command, recipe: Recipe, words: Sequence[str]) -> None:
    """Check what needs no torch: echorl's own options, the names of method and task, and the first row.

    All else is checked by `parsing.parse` and when the trainer is made.

    Raises:
        UserError, ValueError: as the later checks raise it.
    """
    listing = f"echorl {command.name} --help_all"
    names = [*command.own, *(each.name for each in fields(command.data))]
    for name in recipe.options:
        if is_misspelt(str(name), names, command):
            place = recipe.origin.get(name, "the recipe")
            raise UserError(f"{place}: unknown option {name!r}{nearest(str(name), names, listing)}")
    for word in words:
        if word.startswith("--") and is_misspelt(_name_in(word), names, command):
            raise unknown_word(word, names, listing)
    _check_values({**recipe.options, **read_words(words)}, command)


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command line: a text, or a list where an option has not one word.

    >>> read_words(["--task", "gsm8k", "--reward-funcs=len", "--bf16"])
    {'task': 'gsm8k', 'reward_funcs': 'len', 'bf16': []}
    """
    values: dict[str, list[str]] = {}
    current: list[str] = []
    for word in words:
        if word.startswith("--"):
            _, equals, value = word.partition("=")
            current = values[_name_in(word)] = [value] if equals else []
        else:
            current.append(word)
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in values.items()}


def _name_in(word: str) -> str:
    return word[2:].partition("=")[0].replace("-", "_")


def is_misspelt(name: str, names: Sequence[str], command: Command) -> bool:
    """Return whether an option is none of echorl's and was meant to be one."""
    if name in names:
        return False
    if command.own and name.startswith("echo_"):
        return True
    other_names = [each for each in names if not each.startswith("echo_")]  # TRL has a top_entropy_quantile
    return bool(difflib.get_close_matches(name, other_names, n=1, cutoff=CLOSE))


def _check_values(given: Mapping[str, Any], command: Command) -> None:
    method, task, file = given.get("method"), given.get("task"), given.get("train_file")
    if isinstance(method, str) and "method" in command.own:
        check_method_name(method, "method")
    if isinstance(task, str) and not problem_of_name(task):
        find_task(task, parse_mapping("task_options", given.get("task_options"), '{"chat": true}'))
    if isinstance(file, str) and not problem_of_name(file):
        check_first_row(file, given.get("row_func"))
