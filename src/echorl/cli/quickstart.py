"""`echorl quickstart`: GRPO and GRPO + EchoRL on a small policy, on the CPU, in minutes."""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path

from echorl.cli.options import as_path, spellings
from echorl.support.errors import resumable
from echorl.support.folder import ResultFolder
from echorl.support.installed import check_installed

NEEDED = ("trl", "transformers", "datasets", "reasoning_gym", "pyarrow", "matplotlib", "jinja2", "rich")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "quickstart",
        help="train a small policy with and without EchoRL on this machine's CPU and show what changed",
        description="Train the shipped policy with GRPO and with GRPO + EchoRL, on the CPU; then show a table, and "
        "leave a page and a picture. A second run with the same settings trains nothing again.",
    )
    parser.add_argument(
        *spellings("output_dir"),
        type=as_path,
        default=Path("quickstart-run"),
        metavar="DIR",
        help="default: %(default)s",
    )
    parser.add_argument("--fresh", action="store_true", help="discard the results in DIR and start again")
    parser.add_argument("--seed", type=_seed, default=0, help="of both runs, default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run the quickstart. Returns 0.

    Raises:
        ImportError: something is not installed.
        ValueError: the output folder will not do.
        Interrupted: Ctrl-C.
    """
    started = time.monotonic()
    check_installed("the quickstart", NEEDED, "trl,lab")
    _be_quiet()
    with resumable():
        return _run(args, started)


def _run(args: argparse.Namespace, started: float) -> int:
    from dataclasses import replace

    from echorl.cli.bars import Bars
    from echorl.lab.quickstart.run import quickstart
    from echorl.lab.quickstart.study import TINY, Study
    from echorl.lab.quickstart.terminal import show

    study = replace(TINY if args.tiny else Study(), seed=args.seed)
    with ResultFolder(args.output_dir, "quickstart").locked(), Bars() as bars:
        summary = quickstart(args.output_dir, study, fresh=args.fresh, view=bars)
    show(summary, args.output_dir, time.monotonic() - started)
    return 0


def _be_quiet() -> None:
    """No network, and none of the libraries' bars and deprecation notes between our own lines."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)
