"""`echorl`: the command line. Each command is a module, of this package or of `train`, imported when it is called.

A module of this package has the options of its command, a dataclass NAMEOptions; `NEEDED`, extras of echorl and the
packages that they bring; and `run`, which takes the options.
"""

from __future__ import annotations

import argparse
import io
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
    "audit": "what a run loses on groups without a gradient, from its logs: echorl audit LOG [LOG ...]",
    "mine": "find the EchoClips of stored rollouts: echorl mine rollouts.jsonl --model FOLDER",
    "analyze": "golden trajectories: echorl analyze entropy|deletion --model FOLDER --benchmark TASK",
    "probe": "ask whether EchoRL would help, without training: echorl probe --model FOLDER --benchmark quickstart",
    "report": "draw runs as one page, to be opened in a browser: echorl report RUN [RUN ...]",
    "env": "print versions and devices, for a bug report",
}
TRAINING = {"train": "echorl.train.run", "sft": "echorl.train.sft"}
"""Commands whose options TRL's parser reads, and their modules, whose `run` takes the words of the command line."""
QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Variables that all commands set but those that train, whose recipes may set them; a user's own value stays."""
EPILOG = (
    "`echorl COMMAND --help` shows the options of a command. With --traceback (or ECHORL_TRACEBACK=1) an error shows "
    "its traceback."
)
LAUNCHER = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, 1 (a bug or a crash; `--fail_above`), 2 (the user can fix it), 130 (Ctrl-C).
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if "--traceback" in argv:
        argv.remove("--traceback")
        os.environ["ECHORL_TRACEBACK"] = "1"
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a folder named runs/ü in a terminal of ASCII
    try:
        from echorl.support.errors import guard

        return guard(lambda: _dispatch(argv))
    except KeyboardInterrupt:  # during the import, which takes time
        print("echorl: interrupted.", file=sys.stderr)
        return 130


def _dispatch(argv: list[str]) -> int:
    """Run the command that is called. Returns the command's exit code, 0 unless it has one.

    Raises:
        UserError: a variable of the environment or an option is not allowed.
        ImportError: a package that the command needs is not installed.
        Exception: whatever the command raises.
    """
    from echorl.support.errors import UserError, nearest

    _check_environment()
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise UserError(f"unknown command {argv[0]!r}{nearest(argv[0], COMMANDS, 'echorl --help')}")
    if not argv or argv[0] not in COMMANDS:
        parser = _parser()
        parser.parse_args(argv)
        parser.print_help()
        return 0
    name, words = argv[0], argv[1:]
    if name in TRAINING:
        import_module(TRAINING[name]).run(words)
        return 0
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    from echorl.cli.parser import parse
    from echorl.support.installed import check_installed

    command = import_module(f"echorl.cli.{name}")
    options = parse(name, getattr(command, f"{name.capitalize()}Options"), words)
    for extras, packages in command.NEEDED.items():
        check_installed(f"`echorl {name}`", packages, extras)
    return command.run(options) or 0


def _check_environment() -> None:
    """Check that the variables of launchers of several processes are numbers; a blank one counts as not set."""
    from echorl.support.errors import UserError

    for name in LAUNCHER:
        value = os.environ.get(name, "0")
        if not value.strip():
            del os.environ[name]
        elif not value.lstrip("-").isdecimal():
            raise UserError(f"the environment variable {name} is {value!r}, which is not a number: unset it.")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of `echorl` without a command: its help, its version, and the names of commands."""
    import echorl

    parser = argparse.ArgumentParser(
        prog="echorl", description="EchoRL: learn from prompts whose rollouts all succeed.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"echorl {echorl.__version__}", help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, text in COMMANDS.items():
        commands.add_parser(name, help=text)
    return parser
