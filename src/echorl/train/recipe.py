"""Recipes: YAML files of options, one or several that are laid over each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echorl.support.errors import UserError, one_line
from echorl.support.texts import is_text, parse_yaml


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The merged contents of the recipe files.

    Attributes:
        options: option -> value.
        env: environment variable -> text.
        origin: option -> the last file that has it.
        name: a name for the run, made of the names of the files.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)
    name: str = "echorl"


def read_recipes(paths: Sequence[str | Path], given_as: str = "--config ") -> Recipe:
    """Return the files laid over each other: of an option or a variable in `env`, the last file that has it wins.

    Args:
        given_as: text before a file's name in a message.

    Raises:
        UserError: a file cannot be read or is not a mapping; the message names it.
    """
    options: dict[str, Any] = {}
    env: dict[str, str] = {}
    origin: dict[str, str] = {}
    for path in paths:
        recipe = read_recipe(path, given_as)
        env |= _env(recipe.pop("env", {}), f"{given_as}{path}")
        options |= recipe
        origin |= dict.fromkeys(recipe, str(path))
    name = "-".join(Path(path).stem for path in paths)
    return Recipe(options=options, env=env, origin=origin, name=name or "echorl")


def read_recipe(path: str | Path, given_as: str = "--config ") -> dict[str, Any]:
    """Return the mapping in a YAML file; `given_as` stands before its name in a message."""
    place = f"{given_as}{path}"
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{place}: there is no such file.") from None
    except (OSError, ValueError) as error:  # a ValueError: a NUL in the name
        raise UserError(f"{place} cannot be read: {one_line(error)}.") from None
    try:
        recipe = parse_yaml(data)
    except ValueError as error:
        raise UserError(f"{place} is not valid YAML: {one_line(error)}.") from None
    if not isinstance(recipe, dict):
        raise UserError(f"{place} holds no mapping: write one 'option: value' a line.")
    if not isinstance(recipe.get("env", {}), dict):
        raise UserError(f"{place}: 'env' must be a mapping of environment variables to values.")
    return recipe


def _env(variables: Mapping[Any, Any], place: str) -> dict[str, str]:
    """Return environment variables as text, as the operating system takes them."""
    for name, value in variables.items():
        if not isinstance(name, str) or not name or set(name) & {"=", "\0"}:
            raise UserError(f"{place}: 'env' has the name {name!r}: a variable's name is text without '=' and NUL.")
        if not isinstance(value, (str, int, float)) or "\0" in str(value) or not is_text(name + str(value)):
            raise UserError(f"{place}: 'env' has {name}={value!r}: write text, or a number.")
    return {name: str(value) for name, value in variables.items()}


@contextmanager
def environment(variables: Mapping[str, Any]) -> Iterator[None]:
    """Set these environment variables, as text, until the end of the context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
