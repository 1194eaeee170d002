"""Options: what a declaration says, and what its values may be."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

import pytest

from echorl.core.options import check_options, option, options_of


@dataclass(frozen=True, kw_only=True)
class Settings:
    share: float = option(0.5, "A share.", ge=0, le=1)
    weight: float = option(1.0, "A weight.", gt=0)
    quantile: float | None = option(None, "A quantile.", gt=0, lt=1)
    shift: float = option(0.0, "Any number.")
    count: int = option(1, "A number of things.", ge=1)
    flag: bool = option(False, "A switch.")
    kind: Literal["one", "two"] = option("one", "A choice.")
    column: str | None = option(None, "A column.")
    anything: object = option(None, "Not checked.")
    internal: int = 3

    def __post_init__(self) -> None:
        check_options(self)


def test_a_declaration_is_read_from_the_field():
    options = {each.name: each for each in options_of(Settings)}
    assert list(options) == [each.name for each in fields(Settings)][:-1]
    assert (options["share"].kind, options["share"].default, options["share"].help) == (float, 0.5, "A share.")
    assert (options["kind"].choices, options["kind"].kind, options["kind"].optional) == (("one", "two"), str, False)
    assert (options["quantile"].kind, options["quantile"].optional) == (float, True)


@pytest.mark.parametrize(
    "values",
    [
        {"share": 0},
        {"share": 1},
        {"weight": 1e-9},
        {"quantile": None},
        {"quantile": 0.5},
        {"shift": -3},
        {"count": 7},
        {"kind": "two"},
        {"column": ""},
        {"anything": {}},
    ],
)
def test_what_is_allowed(values):
    Settings(**values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 1.1}, "share=1.1 is not allowed: it must be a number from 0 to 1."),
        ({"share": math.nan}, "share=nan is not allowed: it must be a number from 0 to 1."),
        ({"share": True}, "share=True is not allowed: it must be a number from 0 to 1."),
        ({"share": None}, "share=None is not allowed: it must be a number from 0 to 1."),
        ({"weight": 0}, "weight=0 is not allowed: it must be a finite number above 0."),
        ({"weight": "1"}, "weight='1' is not allowed: it must be a finite number above 0."),
        ({"weight": math.inf}, "weight=inf is not allowed: it must be a finite number above 0."),
        ({"quantile": 1.0}, "quantile=1.0 is not allowed: it must be None or a number between 0 and 1."),
        ({"shift": math.nan}, "shift=nan is not allowed: it must be a finite number."),
        ({"count": 0}, "count=0 is not allowed: it must be a whole number of at least 1."),
        ({"count": 2.0}, "count=2.0 is not allowed: it must be a whole number of at least 1."),
        ({"flag": 0}, "flag=0 is not allowed: it must be true or false."),
        ({"kind": "three"}, "kind='three' is not allowed: it must be one of 'one', 'two'."),
        ({"column": 8}, "column=8 is not allowed: it must be None or text."),
    ],
)
def test_what_is_refused(values, message):
    with pytest.raises(ValueError) as error:
        Settings(**values)
    assert str(error.value) == message


def test_a_number_too_large_for_arithmetic_is_refused():
    with pytest.raises(ValueError, match=r"weight=10+ is not allowed: it must be a finite number above 0"):
        Settings(weight=10**400)
