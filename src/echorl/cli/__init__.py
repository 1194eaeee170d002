"""`echorl`: the command line. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "quickstart": "train a small policy with and without EchoRL on this machine's CPU and show what changed",
    "train": "train a model: echorl train --config recipe.yaml [--any_field value]",
    "sft": "supervised training on demonstrations, the warm start: echorl sft --config recipe.yaml",
    "compare": "run several arms on equal rollout tokens and compare them: echorl compare study.yaml",
    "eval": "score a model on benchmarks: echorl eval --model FOLDER --benchmarks aime24 math500",
    "mine": "find the EchoClips of stored rollouts: echorl mine rollouts.jsonl --model FOLDER",
    "analyze": "golden trajectories: echorl analyze entropy|deletion --model FOLDER --benchmark TASK",
    "probe": "ask whether EchoRL would help, without training: echorl probe --model FOLDER --benchmark quickstart",
    "report": "draw runs as one page, to be opened in a browser: echorl report RUN [RUN ...]",
    "env": "print versions and devices, for a bug report",
}
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Of all commands but those that train, whose recipes may set them; what the user has set stays."""
EPILOG = "echorl COMMAND --help tells more. With --traceback (or ECHORL_TRACEBACK=1) an error shows its traceback."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 1 (a bug or a crash), 2 (the user can fix it), 130 (Ctrl-C)."""
    from echorl.cli.errors import guard

    argv = list(sys.argv[1:] if argv is None else argv)
    if "--traceback" in argv:
        argv.remove("--traceback")
        os.environ["ECHORL_TRACEBACK"] = "1"
    return guard(lambda: _dispatch(argv))


def _dispatch(argv: list[str]) -> int:
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
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return import_module(f"echorl.cli.{args.command}").run(args) or 0


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
