"""Bounds of options, declared with each option and checked in one place before a command starts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.support.errors import UserError
from echorl.support.texts import is_text

LONGEST = 255
"""The most bytes that the name of a file or folder can have on common file systems."""


@dataclass(frozen=True)
class Bounds:
    """The range of a number, ends included, and whether 0 is also allowed."""

    least: float = -math.inf
    most: float = math.inf
    or_zero: bool = False

    def problem(self, value: float) -> str | None:
        """Advice for a value that is not allowed, such as "give 1 or more"; None for one that is."""
        if self.least <= value <= self.most or (self.or_zero and value == 0):
            return None
        if self.least == -math.inf:
            return f"give at most {_shown(self.most)}"
        zero = "0, or " if self.or_zero else ""
        if value < self.least:
            return f"give {zero}{_shown(self.least)} or more"
        return f"give {zero}a number from {_shown(self.least)} to {_shown(self.most)}"


def _shown(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else f"{int(value)}"


ANY = Bounds(-(10**12), 10**12)
"""Bounds of numbers for which no others are declared."""
COUNT = Bounds(1, 10**7)
TOKENS = Bounds(1, 10**9)
SEED = Bounds(0, 2**32 - 1)
TEMPERATURE = Bounds(1e-6, 10**6)
"""Below this range all logits but the largest overflow; above it all logits are equal."""

SAMPLING_TEMPERATURE = Bounds(1e-6, 10**6, or_zero=True)
"""0 takes the likeliest token each time."""


def add_option(parser: Any, *names: str, bounds: Bounds = ANY, **options: Any) -> None:
    """Call `parser.add_argument` for a number, and keep its bounds for `check_options`."""
    parser.add_argument(*names, **options).bounds = bounds


def actions_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[argparse.Action]:
    """Yield the declared options of a command: the parser's, and those of the subcommand that was called."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            called = action.choices.get(getattr(args, action.dest))
            yield from actions_of(called, args) if called is not None else ()
        elif action.dest in vars(args):
            yield action


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Check the value of every option that was given.

    Raises:
        UserError: a number is out of its bounds, or a text is blank or cannot be the name of a file.
    """
    for action in actions_of(parser, args):
        value = getattr(args, action.dest)
        if value is not action.default:
            check_value(action.dest, value, getattr(action, "bounds", ANY))


def check_value(name: str, value: Any, bounds: Bounds = ANY) -> None:
    """Check that a number is finite and within bounds, and that a text is not blank and could be the name of a file.

    Args:
        value: one value, or a list of values.

    Raises:
        UserError: it is not; the message names the option and the value.
    """
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(each, bool):
            continue
        if isinstance(each, (int, float)):
            if problem := "give a finite number" if each != each else bounds.problem(each):
                raise UserError(f"{name}={each} is not allowed: {problem}.")
        elif isinstance(each, (str, Path)) and (problem := _problem_of_text(str(each), name)):
            raise UserError(f"{name}={str(each)[:60]!r} {problem}.")


def _problem_of_text(text: str, name: str) -> str | None:
    if not text.strip():
        return "is blank: give a value, or leave the option out"
    if "\0" in text or not is_text(text):
        return "holds a NUL character or text that is not UTF-8: remove it"
    if name not in NOT_NAMES and max(len(part.encode()) for part in text.split("/")) > LONGEST:
        return f"has a part of more than {LONGEST} bytes, which no file system takes: give a shorter name"
    return None


NOT_NAMES = ("parameters",)
"""Options whose text is not the name of a file, model, column or benchmark."""
