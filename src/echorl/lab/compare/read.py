"""A comparison from one YAML and the command line's changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.lab.compare.plan import Comparison
from echorl.support.errors import nearest

KEYS = "docs/reference/files.md"
"""The page that lists the options of a comparison."""


def read_comparison(path: Path, mapping: Mapping[str, Any], changes: Mapping[str, Any]) -> Comparison:
    """Return the comparison in the mapping of a YAML file, with changes from the command line (None: unchanged).

    Args:
        path: the YAML file, to which recipes are relative.

    Raises:
        ValueError: an option is unknown or missing, or its value is not allowed.
    """
    names = [field.name for field in dataclasses.fields(Comparison)]
    values = {"output_dir": f"runs/{path.stem}", **mapping, **{k: v for k, v in changes.items() if v is not None}}
    if unknown := [name for name in values if name not in names]:
        raise ValueError(f"{path}: unknown option {unknown[0]!r}{nearest(str(unknown[0]), names, KEYS)}")
    for name in ("recipe", "arms"):
        if name not in values:
            raise ValueError(
                f"{path}: {name!r} is missing; a comparison needs recipe, arms, and rollout_tokens or steps."
            )
    for name in ("seeds", "grid_seeds", "learning_rates", "pass_at"):
        if not isinstance(values.get(name, []), (list, tuple)):
            raise ValueError(f"{path}: {name}={values[name]!r} is not a list; write e.g. [{values[name]}].")
    for name in ("averages", "validation", "notes"):
        if not isinstance(values.get(name, {}), Mapping):
            raise ValueError(f"{path}: {name}={values[name]!r} is no mapping: write 'name: value', one a line.")
    recipes = values["recipe"] if isinstance(values["recipe"], list) else [values["recipe"]]
    values["recipe"] = [str(path.parent / str(recipe)) for recipe in recipes]
    return Comparison.from_lists(values)
