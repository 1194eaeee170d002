"""A comparison from one YAML and the command line's changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.lab.compare.plan import Comparison


def _list(path: Path, name: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{path}: {name}={value!r} is not a list; write e.g. [{value}].")
    return list(value)


def read_comparison(path: Path, mapping: Mapping[str, Any], changes: Mapping[str, Any]) -> Comparison:
    """The comparison in the mapping of a YAML file at `path`, with changes from the command line (None: unchanged).

    Raises:
        ValueError: an unknown, missing or bad option.
    """
    known = {field.name: field for field in dataclasses.fields(Comparison)}
    values = {"output_dir": f"runs/{path.stem}", **mapping, **{k: v for k, v in changes.items() if v is not None}}
    for name in values:
        if name not in known:
            raise ValueError(f"{path}: unknown option {name!r}; a comparison has {', '.join(known)}.")
    for name in ("recipe", "arms"):
        if name not in values:
            raise ValueError(
                f"{path}: {name!r} is missing; a comparison needs recipe, arms, and rollout_tokens or steps."
            )
    for name in ("seeds", "grid_seeds", "learning_rates", "pass_at"):
        if name in values:
            values[name] = tuple(_list(path, name, values[name]))
    for name in ("averages", "validation", "notes"):
        if not isinstance(values.get(name, {}), Mapping):
            raise ValueError(f"{path}: {name}={values[name]!r} is no mapping: write 'name: value', one a line.")
    recipes = values["recipe"] if isinstance(values["recipe"], list) else [values["recipe"]]
    values["recipe"] = tuple(str(path.parent / str(recipe)) for recipe in recipes)
    return Comparison(**values)
