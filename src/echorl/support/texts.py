"""Parsers of JSON and YAML that others wrote, and checks of the texts of options."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

MOST_NESTED = 100
"""The deepest nesting of lists and objects that is read; Python's own functions fail on far deeper ones."""
LONGEST = 255
"""The most bytes that the name of a file or folder can have on common file systems."""
TOO_DEEP = f"nested more than {MOST_NESTED} deep"


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; bytes are UTF-8.

    Raises:
        ValueError: it is not UTF-8, not JSON, or nested too deep; the message is the reason alone, without a full stop.

    >>> parse_json('{"a": [1]}')
    {'a': [1]}
    """
    value = _parse(text, _load_json)
    brackets = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(map(text.count, brackets)) > MOST_NESTED and _is_deep(value):  # type: ignore[arg-type]
        raise ValueError(TOO_DEEP)
    return value


def _load_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # Python's advice is to its programmers
        raise ValueError(f"a number has more than {sys.get_int_max_str_digits():,} digits") from None


def parse_yaml(text: str | bytes) -> Any:
    """Return the value of a YAML text; bytes are UTF-8.

    Raises:
        ValueError: it is not UTF-8, not YAML, has a key twice, or is nested too deep; the message as in `parse_json`.

    >>> parse_yaml("a: [1]")
    {'a': [1]}
    """
    import yaml

    from echorl.support.yaml_file import load_yaml

    try:
        value = _parse(text, load_yaml)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    if _is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def _parse(text: str | bytes, load: Callable[[str], Any]) -> Any:
    try:
        return load(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MOST_NESTED + 1):
        inside = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = list({id(child): child for each in inside for child in each}.values())  # YAML aliases repeat some
    return bool(level)


def is_text(value: Any) -> bool:
    """Return whether a value is a string without lone surrogates (halves of characters), so that UTF-8 can hold it.

    >>> is_text("a"), is_text("a\\ud83d"), is_text(5)
    (True, False, False)
    """
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse_mapping(name: str, value: dict[str, Any] | str | None, example: str) -> dict[str, Any]:
    """Return the mapping of an option that may be written as JSON; an empty one where there is none.

    Raises:
        ValueError: it is something else; the message names the option and has the example.

    >>> parse_mapping("task_options", '{"chat": true}', "")
    {'chat': True}
    """
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise ValueError(f"{name}={value!r} is not JSON ({error}): write e.g. '{example}'.") from None
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is not a mapping of option names to values.")
    return value or {}


def problem_of_text(text: str) -> str | None:
    """Return advice on an option's text that is blank, or that no file could hold; None on any other.

    >>> problem_of_text(" ")
    'is blank: give a value, or leave the option out'
    """
    if not text.strip():
        return "is blank: give a value, or leave the option out"
    if "\0" in text or not is_text(text):
        return "holds a NUL character or text that is not UTF-8: remove it"
    return None


def problem_of_name(text: str) -> str | None:
    """Return advice on an option's text that could not be the name of a file or a model; None on any other."""
    if max(len(part.encode(errors="replace")) for part in text.split("/")) > LONGEST:
        return f"has a part of more than {LONGEST} bytes, which no file system takes: give a shorter name"
    return problem_of_text(text)


def finite_number(value: Any) -> float | None:
    """Return the finite float that a number, number as text, true or false stands for; None for anything else.

    >>> finite_number(True), finite_number("0.5"), finite_number(10**400), finite_number("nan"), finite_number([1.0])
    (1.0, 0.5, None, None, None)
    """
    if not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
