"""The parser of a command, made of the dataclass that declares its options."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args

from jsonargparse import ArgumentParser

from echorl.core.options import Option, check_options, options_of
from echorl.models import problem_of_model
from echorl.support.errors import UserError, bad_argument, unknown_word
from echorl.support.texts import problem_of_name, problem_of_text

DEVICE = re.compile(r"(cpu|cuda|mps|xpu|npu)(:[0-9]{1,3})?")
PAGES = "The pages docs/... are in echorl's repository."
NO_NAMES = ("parameters",)
"""Options whose text is a regular expression, which may be longer than the name of a file."""


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """Base of the options of a command.

    Attributes:
        given: names of the options that the command line has.
    """

    given: frozenset[str] = field(default=frozenset(), compare=False)


Options = TypeVar("Options", bound=CommandOptions)
Part = TypeVar("Part")


def required(help: str, *, positional: bool = False) -> Any:
    """Return a dataclass field that is an option without a default; a positional one has no `--name`."""
    return field(metadata={"help": help, "positional": positional})


def part_of(options: Any, kind: type[Part]) -> Part:
    """Return the part of the options that a dataclass has fields for, as that dataclass."""
    return kind(**{each.name: getattr(options, each.name) for each in fields(kind)})  # type: ignore[arg-type]


def parse(command: str, kind: type[Options], argv: Sequence[str]) -> Options:
    """Return the options that a command line gives, checked. Hyphens in their names stand for underscores.

    Raises:
        UserError: an option is unknown or its value is not allowed; the message names it and says what is allowed.
    """
    parser, words = make_parser(command, kind), with_underscores(argv)
    values = parser.parse_args(words).as_dict()
    given = frozenset(word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--"))
    try:
        options = kind(given=given, **{name: _value(each, values[name]) for name, each in parser.options.items()})
        check_options(options)
    except ValueError as error:
        message = str(error).replace(" it must be None or ", " it must be ")
        name = message.partition("=")[0]
        raise UserError(parser.words.get(name, name) + message[len(name) :]) from None
    return options


def with_underscores(argv: Sequence[str]) -> list[str]:
    """Return a command line with underscores in the names of options.

    >>> with_underscores(["a-b", "--top-k", "3", "--output-dir=my-folder"])
    ['a-b', '--top_k', '3', '--output_dir=my-folder']
    """
    return [re.sub(r"^--[\w-]+", lambda name: f"--{name[0][2:].replace('-', '_')}", word) for word in argv]


def make_parser(command: str, kind: type[CommandOptions]) -> _Parser:
    """Return the parser of `echorl COMMAND`."""
    parser = _Parser(
        prog=f"echorl {command}",
        description=" ".join((inspect.getdoc(kind) or "").split()),
        epilog=PAGES,
        formatter_class=argparse.HelpFormatter,
        allow_abbrev=False,
    )
    parser.options = {option.name: option for option in options_of(kind)}
    parser.words = {}
    for each in fields(kind):
        if (option := parser.options.get(each.name)) is not None:
            positional = each.metadata.get("positional")
            parser.words[each.name] = each.name.upper() if positional else f"--{each.name}"
            help = describe(option).replace("%", "%%")
            parser.add_argument(each.name if positional else f"--{each.name}", help=help, **_reading(each, option))
    return parser


def describe(option: Option) -> str:
    """Return the help of an option, with its default unless that is None, an empty text or False."""
    silent = option.default in (None, "") or option.default is False
    return option.help if silent else f"{option.help} Default: {option.default}."


def _reading(each: Field, option: Option) -> dict[str, Any]:
    """Return how the parser reads the option. A path is read as text, since `Path` takes a blank one for a folder."""
    if option.kind is bool:
        return {"action": "store_true"}
    sizes = get_args(option.kind)
    kind = Literal[option.choices] if option.choices else (sizes or (option.kind,))[0]
    reading: dict[str, Any] = {"type": str if kind is Path else kind}
    if sizes:
        reading["nargs"] = "+" if sizes[-1] is ... else len(sizes)
    if each.metadata.get("positional"):
        return {**reading, "metavar": each.name.upper()}
    if not option.choices:
        reading["metavar"] = {int: "N", float: "X", Path: "PATH"}.get(option.kind, each.name.upper())
    default = str(option.default) if isinstance(option.default, Path) else option.default
    return {**reading, "default": default, "required": each.default is MISSING}


def _value(option: Option, given: Any) -> Any:
    """Return a parsed value in the option's type: paths in place of texts, and a tuple in place of a list.

    Raises:
        ValueError: a text is blank, could not be the name of anything, or stands for no model or device.
    """
    if given == option.default or not isinstance(given, (str, list)):
        return given
    texts = given if isinstance(given, list) else [given]
    for text in texts:
        problem = problem_of_text(text) if option.name in NO_NAMES else problem_of_name(text)
        if option.name == "device" and not DEVICE.fullmatch(text):
            problem = "is no device that a model runs on: give cpu, cuda, cuda:1 or mps"
        if option.name == "model":
            problem = problem or problem_of_model(text)
        if problem:
            raise ValueError(f"{option.name}={text[:60]!r} {problem}.")
    kinds = get_args(option.kind) or (option.kind,)
    values = tuple(Path(text) if Path in kinds else text for text in texts)
    return values if isinstance(given, list) else values[0]


class _Parser(ArgumentParser):
    """A parser whose errors are `UserError`s.

    Attributes:
        options: name -> the option.
        words: name -> the word that stands for it in the help; of a positional one the name in capitals.
    """

    options: dict[str, Option]
    words: dict[str, str]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a `UserError` in place of argparse's usage and exit."""
        if value := re.match(r'Parser key "(\w+)":.*(?:Given|Got) value: (.*)', message, re.DOTALL):
            option = self.options[value[1]]
            allowed = option.allowed.removeprefix("None or ")
            raise UserError(f"{self.words[option.name]}={value[2]!r} is not allowed: it must be {allowed}.")
        kind, _, rest = message.partition(": ")
        if kind == "unrecognized arguments":
            names = [name for name, word in self.words.items() if word.startswith("--")]
            raise unknown_word(rest.split()[0], names, f"{self.prog} --help")
        if kind == "the following arguments are required":
            name = rest.split(", ")[0]
            help = self.options[name].help
            raise UserError(f"{self.words[name]} is missing: give {help[0].lower()}{help[1:].rstrip('.')}.")
        raise bad_argument(message)
