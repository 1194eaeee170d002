"""`echorl mine`: score stored rollouts with a model and show the EchoClips that they hold."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.cli.options import add_device, as_path, spellings
from echorl.support.bounds import ANY, COUNT, SEED, TEMPERATURE, TOKENS, add_option
from echorl.support.errors import resumable
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.mine.run import Plan

NEEDED = ("transformers", "pyarrow", "filelock", "rich")
ECHO = {
    "scope": (str, "verified (every group with a success) or degenerate (only all-success groups)"),
    "select": (str, "the step that ends a clip: max_entropy, or the controls min_entropy, random and full"),
    "clip_per": (str, "one clip a prompt, or one a (successful) rollout"),
    "top_k": (int, "clips a group (or a rollout)"),
    "min_step_tokens": (int, "steps with fewer tokens end no clip"),
    "entropy_quantile": (float, "only steps at or above this quantile of their part's step entropies end a clip"),
    "max_step_entropy": (float, "a rollout with a step above this many nats (gibberish) gives no clip"),
    "success_reward": (float, "a rollout with at least this reward succeeds"),
    "seed": (int, "of --select random and full"),
}
"""The fields of EchoConfig that mining looks at; the others belong to a loss."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    from echorl.core.config import CHOICES, EchoConfig

    parser = subparsers.add_parser(
        "mine",
        help="find the EchoClips of stored rollouts: echorl mine rollouts.jsonl --model FOLDER",
        description="Score stored rollouts with a model, write the EchoClips that they hold, and print what they are. "
        "What is scored is kept; the same command goes on. See docs/mine.md.",
    )
    parser.add_argument("rollouts", nargs="+", type=as_path, metavar="FILE", help="JSONL, parquet, or folders of them")
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="a folder, a model of the hub, 'quickstart' or 'smollm2'"
    )
    for name in ("prompt", "response", "reward", "group"):
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"the column of the {name}; default: by the layout")
    for name, (kind, text) in ECHO.items():
        default = getattr(EchoConfig, name)
        bounds = SEED if name == "seed" else ANY
        text = f"{text}; default: {default}"
        add_option(
            parser, *spellings(name), bounds=bounds, type=kind, choices=CHOICES.get(name), default=default, help=text
        )
    _add_scoring(parser)
    parser.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl", help="of the clips: %(default)s")
    parser.add_argument(*spellings("output_dir"), metavar="DIR", help="default: runs/mine/NAME of the first file")


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    text = "of the sampling; default: %(default)s"
    add_option(parser, "--temperature", bounds=TEMPERATURE, type=float, default=1.0, help=text)
    parser.add_argument("--chat", action="store_true", help="write prompts that are text as a user's chat message")
    parser.add_argument(*spellings("no_end"), action="store_true", help="put no end token behind the responses")
    for name, bounds, default, text in (
        ("max_length", COUNT, None, "longest rollout in tokens; default: the model's context"),
        ("batch_size", COUNT, 64, "rollouts in a part; default: %(default)s"),
        ("tokens_at_once", TOKENS, 8192, "in one forward; default: %(default)s"),
    ):
        add_option(parser, *spellings(name), bounds=bounds, type=int, default=default, metavar="N", help=text)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    check_installed("`echorl mine`", NEEDED, "trl")
    with resumable():
        return _mine(args)


def _mine(args: argparse.Namespace) -> int:
    from echorl.cli.bars import Bars
    from echorl.cli.models import find_checkpoint, load_model
    from echorl.lab.mine.rows import find_files
    from echorl.lab.mine.run import mine
    from echorl.support.lock import alone

    files = find_files(args.rollouts)
    checkpoint = find_checkpoint(args.model)
    plan = _plan(args, files, checkpoint)
    folder = Path(args.output_dir or Path("runs/mine", Path(os.path.abspath(args.rollouts[0])).stem))
    with alone(folder, "mine"), Bars() as bars:
        found = mine(folder, plan, checkpoint, lambda: load_model(checkpoint, args.device)[0], bars)
    show_summary(found, folder, args.format)
    return 0


def _plan(args: argparse.Namespace, files: list[Path], checkpoint: Checkpoint) -> Plan:
    from echorl.core.config import EchoConfig
    from echorl.lab.mine.layouts import Columns
    from echorl.lab.mine.run import Plan
    from echorl.lab.mine.scorer import Reading

    return Plan(
        files=files,
        columns=Columns(**{name: getattr(args, name) for name in ("prompt", "response", "reward", "group")}),
        reading=Reading(chat=args.chat, end=not args.no_end, max_length=args.max_length or checkpoint.context),
        echo=EchoConfig(**{name: getattr(args, name) for name in ECHO}),
        **{name: getattr(args, name) for name in ("temperature", "batch_size", "tokens_at_once", "format")},
    )


def show_summary(found: Mapping[str, Any], folder: Path, format: str) -> None:
    """Print the groups by kind, and a column of numbers for each kind whose groups gave clips."""
    from echorl.core.statistics import MEANING
    from echorl.lab.mine.summary import table_rows

    total = found["all"]
    print(f"{total['rollouts']} rollouts in {total['groups']} groups, {total['degenerate']:.1%} of them degenerate")
    for kind, row in found.items():
        if kind != "all":
            print(f"  {row['groups']:>7} {row['share_of_groups']:>6.1%}  {kind}: {MEANING[kind]}")
    if total["groups_of_one"]:
        print(f"  {total['groups_of_one']} groups have one rollout, so that they are degenerate whatever it earned")
    if total["too_long"]:
        print(f"  {total['too_long']} rollouts were too long for the model: not scored, and no clip's")
    names = [name for name, row in found.items() if row["clips"]["count"]]
    lines = [["", *names], *table_rows(found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines if names else []:
        print("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip())
    print(f"{total['clips']['count']} clips: {folder / f'clips.{format}'}  numbers: {folder / 'summary.json'}")
