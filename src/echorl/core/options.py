"""Options: typed fields of a dataclass that carry their default, help text and bounds, and the check of their values.

An option is declared once, by its type and `option`. Parsers, help texts, tables and checks read it by `options_of`.
"""

from __future__ import annotations

import sys
import types
import typing
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

BOUNDS = ("ge", "gt", "le", "lt")
LARGEST = sys.float_info.max
"""The largest absolute value of a number, so that arithmetic with it is possible."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option as its field declares it.

    Attributes:
        kind: `bool`, `int`, `float`, `str` or `dict`; any other type of a field is not checked.
        optional: whether None is allowed, too.
        choices: the allowed values of a `Literal`; else empty.
        ge, gt, le, lt: the bounds of a number (at least, above, at most, below), or None.
    """

    name: str
    kind: Any
    default: Any
    help: str
    optional: bool = False
    choices: tuple[Any, ...] = ()
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @property
    def allowed(self) -> str:
        """The allowed values in words.

        >>> Option(name="share", kind=float, default=0.5, help="", ge=0, le=1, optional=True).allowed
        'None or a number from 0 to 1'
        """
        return f"None or {self._values()}" if self.optional else self._values()

    def _values(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(repr, self.choices))}"
        if self.kind in (bool, str, dict):
            return {bool: "true or false", str: "text", dict: "a mapping of names to values"}[self.kind]
        number = "a whole number" if self.kind is int else "a number"
        if self.ge is not None and self.le is not None:
            return f"{number} from {self.ge} to {self.le}"
        if self.gt is not None and self.lt is not None:
            return f"{number} between {self.gt} and {self.lt}"
        words = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
        bounds = [f"{word} {getattr(self, name)}" for name, word in words.items() if getattr(self, name) is not None]
        return " ".join(["a finite number" if self.kind is float else number, " and ".join(bounds)]).strip()

    def allows(self, value: Any) -> bool:
        """Return whether the option can have this value."""
        if not self.choices and self.kind not in (bool, int, float, str):
            return True
        if value is None:
            return self.optional
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if self.kind in (bool, str, dict):
            return isinstance(value, self.kind)
        if isinstance(value, bool) or not isinstance(value, (int, self.kind)):
            return False
        if not -LARGEST <= value <= LARGEST:  # nor is NaN
            return False
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


def option(
    default: Any,
    help: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> Any:
    """Return a dataclass field that is an option; the field's type says what it holds (`Literal` for choices).

    Args:
        ge, gt, le, lt: bounds of a number: at least, above, at most, below.
    """
    return field(default=default, metadata={"help": help, "ge": ge, "gt": gt, "le": le, "lt": lt})


def argument(default: Any, help: str) -> Any:
    """Return a dataclass field for TRL's parser, which takes no metadata but the help and checks no bounds."""
    return field(default=default, metadata={"help": help})


def options_of(settings: type) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in the order of its fields."""
    hints = typing.get_type_hints(settings)
    return tuple(_read(each, hints[each.name]) for each in fields(settings) if "help" in each.metadata)


def _read(each: Any, hint: Any) -> Option:
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    optional, kinds = type(None) in kinds, tuple(kind for kind in kinds if kind is not type(None))
    kind = kinds[0] if len(kinds) == 1 else hint
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    bounds = {name: each.metadata.get(name) for name in BOUNDS}
    default = None if each.default is MISSING else each.default
    return Option(
        name=each.name,
        kind=type(choices[0]) if choices else kind,
        default=default,
        help=each.metadata["help"],
        optional=optional,
        choices=choices,
        **bounds,
    )


def check_options(settings: Any) -> None:
    """Check the values of a dataclass's options.

    Raises:
        ValueError: a value is not of its option's type or out of its bounds; the message says what is allowed.
    """
    for each in options_of(type(settings)):
        value = getattr(settings, each.name)
        if not each.allows(value):
            raise ValueError(f"{each.name}={value!r} is not allowed: it must be {each.allowed}.")
