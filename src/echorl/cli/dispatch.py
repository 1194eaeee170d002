"""From the command line to the command's module."""

from __future__ import annotations

import argparse
import os
from importlib import import_module

from echorl.cli import COMMANDS
from echorl.support.bounds import check_options
from echorl.support.errors import UserError

QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Of all commands but those that train, whose recipes may set them; what the user has set stays."""
EPILOG = "echorl COMMAND --help tells more. With --traceback (or ECHORL_TRACEBACK=1) an error shows its traceback."
LAUNCHER = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def dispatch(argv: list[str]) -> int:
    """Run the command that is called, once its options are checked. Returns 0.

    Raises:
        UserError: an option or a variable of the environment is not allowed; and what the command raises.
    """
    _check_environment()
    if argv and argv[0] in (
        "train",
        "sft",
    ):  # their options are the fields of dataclasses: they have parsers of their own
        return import_module(f"echorl.cli.{argv[0]}").run(argv[1:])
    parser = _parser(argv[0] if argv else None)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    check_options(parser, args)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return import_module(f"echorl.cli.{args.command}").run(args) or 0


def _check_environment() -> None:
    """See that the variables of launchers of several processes are numbers; a blank one counts as not set."""
    for name in LAUNCHER:
        value = os.environ.get(name, "0")
        if not value.strip():
            del os.environ[name]
        elif not value.lstrip("-").isdecimal():
            raise UserError(f"the environment variable {name} is {value!r}, which is no number: unset it.")


def _parser(called: str | None) -> argparse.ArgumentParser:
    """The parser of all commands; only the called one's module is imported."""
    parser = argparse.ArgumentParser(
        prog="echorl", description="EchoRL: learn from prompts whose rollouts all succeed.", epilog=EPILOG
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        if name == called:
            import_module(f"echorl.cli.{name}").add_parser(commands)
        else:
            commands.add_parser(name, help=text, add_help=False)
    return parser


class _Version(argparse.Action):
    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, dest, nargs=0, help="print the version")

    def __call__(self, parser, namespace, values, option_string=None):
        from importlib.metadata import version

        print(f"echorl {version('echorl')}")
        parser.exit()
