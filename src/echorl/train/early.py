"""Mistakes in a recipe or on the command line that are refused before TRL is imported, most of them before torch."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from echorl.models import problem_of_model
from echorl.support.errors import UserError, nearest, unknown_word
from echorl.support.files import is_missing_path
from echorl.support.method_names import check_method_name
from echorl.support.texts import parse_mapping, problem_of_name
from echorl.train.data import check_first_row, find_function, find_task
from echorl.train.parsing import Command
from echorl.train.recipe import Recipe

CLOSE = 0.85
"""An unknown name this similar to an option of echorl's is that option, misspelt: none of TRL's is."""


def check_early(command: Command, recipe: Recipe, words: Sequence[str]) -> None:
    """Check what needs no TRL: echorl's own options, the names of model, method and task, code, and the first row.

    All else is checked by `parsing.parse` and when the trainer is made.

    Raises:
        UserError, ValueError: as the later checks raise it.
    """
    listing = f"echorl {command.name} --help_all"
    names = [*command.echo_options, *(each.name for each in fields(command.data))]
    for name in recipe.options:
        if is_misspelt(str(name), names, command):
            place = recipe.origin.get(name, "the recipe")
            raise UserError(f"{place}: unknown option {name!r}{nearest(str(name), names, listing)}")
    for word in words:
        if word.startswith("--") and _name_in(word) == "model":  # as the other commands have it
            raise UserError("unknown option '--model' on the command line; did you mean '--model_name_or_path'?")
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
    if command.echo_options and name.startswith("echo_"):
        return True
    other_names = [each for each in names if not each.startswith("echo_")]  # TRL has a top_entropy_quantile
    return bool(difflib.get_close_matches(name, other_names, n=1, cutoff=CLOSE))


def _check_values(given: Mapping[str, Any], command: Command) -> None:
    _check_places(given)
    _check_code(given, command)
    task, file = given.get("task"), given.get("train_file")
    if isinstance(task, str) and not problem_of_name(task):
        find_task(task, parse_mapping("task_options", given.get("task_options"), '{"chat": true}'))
    if isinstance(file, str) and not problem_of_name(file):
        check_first_row(file, given.get("row_func"))


def _check_places(given: Mapping[str, Any]) -> None:
    """Check the places of the model and of the rows, which the hub would be asked for."""
    for name, problem_of in (("model_name_or_path", problem_of_model), ("dataset_name", _problem_of_dataset)):
        text = given.get(name)
        if isinstance(text, str) and not problem_of_name(text) and (problem := problem_of(text)):
            raise UserError(f"{name}={text!r} {problem}.")


def _problem_of_dataset(name: str) -> str | None:
    if not is_missing_path(name):
        return None
    return f"does not exist in {os.getcwd()}: give a data set of the hub, a folder of one, or your rows in train_file"


def _check_code(given: Mapping[str, Any], command: Command) -> None:
    """Check the names of a method and of functions; the user's own files are imported, of a method torch, too."""
    method, functions = given.get("method"), given.get("reward_funcs") or []
    if isinstance(method, str) and "method" in command.echo_options:
        check_method_name(method, "method")
        if ":" in method:
            from echorl.methods import find_method

            find_method(method)
    for name in [functions] if isinstance(functions, str) else functions:
        if isinstance(name, str) and re.search("[.:]", name):  # the others are TRL's
            find_function(name, "reward_funcs", home="trl.rewards")
    if isinstance(row_func := given.get("row_func"), str) and not given.get("task"):
        find_function(row_func, "row_func", home="builtins")
