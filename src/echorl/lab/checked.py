"""Readers of files that a command wrote: a file has its declared shape, or a ValueError names the place that differs.

A shape is a type (`float`: a number, NaN included, within `LARGEST`), a list of one shape, a mapping of names to shapes
(further names are allowed; a name that ends in "?" may be missing), `Each` (a mapping of any names) or `Maybe` (or
null).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.support.texts import parse_json

LARGEST = 1e100
"""The largest number that is accepted: the square of a far larger number is more than a float can hold."""
NAMES = {
    str: "text",
    float: "a number (up to 1e100)",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}
FIX = "run that command again, or give another folder"


@dataclass(frozen=True)
class Each:
    """The shape of an object with any names, all of whose values have this shape."""

    shape: Any


@dataclass(frozen=True)
class Maybe:
    """The shape of a value that is null or has this shape."""

    shape: Any


def read_object(path: Path, shape: Any = dict, by: str = "echorl") -> dict[str, Any] | None:
    """Return the object in a JSON file; None where there is no file. `by` names the command that writes it.

    Raises:
        ValueError: the file cannot be read, or holds something of another shape; the message names both.
    """
    try:
        value = parse_json(path.read_bytes())
        check(value, shape)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): {FIX}.") from None
    except ValueError as error:
        raise ValueError(f"{path} was not written by `{by}`, or is damaged ({error}): {FIX}.") from None
    return value


def peek(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, to recognise a folder by it; an empty one where no object can be read."""
    try:
        return read_object(path) or {}
    except ValueError:
        return {}


def check(value: Any, shape: Any, place: str = "") -> None:
    """Check that a value has a shape.

    Args:
        place: place of the value in the file, for the message; "" for the whole file.

    Raises:
        ValueError: it has another shape; the message names the place.
    """
    if isinstance(shape, Maybe):
        if value is not None:
            check(value, shape.shape, place)
        return
    kind = shape if isinstance(shape, type) else list if isinstance(shape, list) else dict
    if not _is(value, kind):
        raise ValueError(f"{place or 'the whole'} is not {NAMES[kind]}")
    if kind is list:
        for number, each in enumerate(value):
            check(each, shape[0], f"{place}[{number}]")
    elif shape is not kind:
        _check_names(value, shape, place)


def _check_names(value: Mapping[Any, Any], shape: Any, place: str) -> None:
    if not all(isinstance(name, str) for name in value):
        raise ValueError(f"{place or 'the whole'} has a name that is not text")
    shapes = dict.fromkeys(value, shape.shape) if isinstance(shape, Each) else shape
    for name, each in shapes.items():
        key = name.removesuffix("?")
        inner_place = f"{place}.{key}" if place else key
        if key in value:
            check(value[key], each, inner_place)
        elif key == name:
            raise ValueError(f"{inner_place} is missing")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return is_drawable(value) or value != value
    return isinstance(value, kind) and (kind is not int or is_drawable(value))


def is_drawable(value: Any) -> bool:
    """Return whether a value is a number (not true or false), finite and at most `LARGEST` in size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST
