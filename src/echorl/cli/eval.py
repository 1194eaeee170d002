"""`echorl eval`: sample a model's answers to benchmarks, score them, and say what follows, with intervals."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from echorl.cli.options import add_device, as_path, spellings
from echorl.support.bounds import COUNT, SAMPLING_TEMPERATURE, SEED, Bounds, add_option
from echorl.support.errors import UserError, as_user_error, resumable
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.engines import Engine
    from echorl.lab.evaluate.plan import Sampling, Work

NEEDED = ("transformers", "pyarrow", "filelock", "rich")
DEFAULTS = {
    "temperature": (float, "T", "default 0.6; 0 takes the likeliest token"),
    "top_p": (float, "P", "keep the likeliest tokens up to this probability; default 1, all of them"),
    "samples": (int, "K", "completions of each item; default: the benchmark's (32 for AIME and AMC, else 1)"),
    "max_new_tokens": (int, "N", "default 8192, or less where the model's context is shorter"),
    "limit": (int, "N", "only the first N items of each benchmark"),
    "batch_size": (int, "N", "completions sampled and stored at once; default 32, with vLLM 256"),
    "seed": (int, "S", "default 0"),
}
NOT_FOR = {
    "model": (),
    "compare": (*DEFAULTS, "data", "device", "output_dir"),
    "grade": (*DEFAULTS, "benchmarks", "device", "output_dir"),
}
"""What is asked for -> options that it doesn't look at."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "eval",
        help="score a model on benchmarks: echorl eval --model FOLDER --benchmarks aime24 math500",
        description="Sample a model's answers to benchmarks, score them, and print avg@k, pass@k and maj@k with "
        "intervals. What is sampled is kept; the same command goes on. See docs/eval.md.",
    )
    parser.add_argument("--model", metavar="MODEL", help="a folder, a model of the hub, 'quickstart' or 'smollm2'")
    parser.add_argument("--benchmarks", nargs="+", metavar="NAME", help="aime24 math500 ..., or TASK[:SPLIT]")
    parser.add_argument("--data", metavar="PATH", help="the benchmarks' files, instead of the hub's data sets")
    for name, (kind, metavar, text) in DEFAULTS.items():
        bounds = {"temperature": SAMPLING_TEMPERATURE, "top_p": Bounds(0, 1), "seed": SEED}.get(name, COUNT)
        add_option(parser, *spellings(name), bounds=bounds, type=kind, metavar=metavar, help=text)
    parser.add_argument(
        "--backend", choices=("transformers", "vllm"), default="transformers", help="default: %(default)s"
    )
    add_device(parser, "of transformers; default: cuda if there is one, else cpu")
    parser.add_argument(*spellings("output_dir"), metavar="DIR", help="default: runs/eval/MODEL")
    parser.add_argument(
        "--compare", nargs=2, type=as_path, metavar=("A", "B"), help="two output folders: B less A, paired"
    )
    parser.add_argument(
        "--grade", nargs="+", type=as_path, metavar="FILE", help="score stored samples anew, without a model"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    args.benchmarks = args.benchmarks and [name for word in args.benchmarks for name in word.split(",") if name]
    _check(args)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    with resumable():
        if args.compare:
            return _compare(args)
        return _grade(args) if args.grade else _evaluate(args)


def _check(args: argparse.Namespace) -> None:
    check_installed("`echorl eval`", NEEDED, "trl,tasks")
    asked = [name for name in ("model", "compare", "grade") if getattr(args, name)]
    if len(asked) != 1:
        given = " and ".join(f"--{name}" for name in asked) or "nothing to do"
        raise UserError(f"{given} given: give exactly one of --model (with --benchmarks), --compare and --grade.")
    if unused := [name for name in NOT_FOR[asked[0]] if getattr(args, name) is not None]:
        raise UserError(f"--{unused[0]} says nothing to --{asked[0]}: leave it out.")
    if args.model and not args.benchmarks:
        raise UserError("--benchmarks is missing: name one or more, such as math500 (docs/eval.md lists them).")
    if args.device and args.backend == "vllm":
        raise UserError(
            f"--device {args.device} is for the backend 'transformers': vLLM chooses its own; leave it out."
        )


def _evaluate(args: argparse.Namespace) -> int:
    from functools import partial

    from echorl.cli.bars import Bars
    from echorl.cli.eval_table import show_results
    from echorl.cli.models import default_device, find_checkpoint
    from echorl.lab.evaluate.engines import BATCH_SIZES, check_vllm
    from echorl.lab.evaluate.plan import Sampling
    from echorl.lab.evaluate.run import evaluate, prepare, settings_of
    from echorl.lab.evaluate.store import Store

    given = {name: getattr(args, name) for name in DEFAULTS if getattr(args, name) is not None}
    sampling = Sampling(**{"batch_size": BATCH_SIZES[args.backend], **given})
    if args.backend == "vllm":
        check_vllm()
    checkpoint, device = find_checkpoint(args.model), args.device or default_device()
    with as_user_error(ImportError, doing="a benchmark needs a package (pip install 'echorl[tasks]')"):
        works = prepare(args.benchmarks, checkpoint, sampling, args.data)
    folder = Path(args.output_dir or Path("runs/eval", Path(os.path.abspath(args.model)).name))  # "." has no name
    start = partial(_start, args.backend, checkpoint, sampling, works, device)
    store = Store(folder)
    with store.locked(), Bars() as bars:
        common = settings_of(checkpoint, sampling, args.backend, device)
        results = evaluate(store, args.model, works, common, start, bars)
    show_results(results, folder)
    return 0


def _start(backend: str, checkpoint: Checkpoint, sampling: Sampling, works: list[Work], device: str) -> Engine:
    from echorl.cli.models import loading
    from echorl.lab.evaluate.engines import start

    with loading(checkpoint, device):
        return start(backend, checkpoint, sampling, works, device)


def _grade(args: argparse.Namespace) -> int:
    """Score files in place; where they lie in an evaluation's folder its results are made anew."""
    from contextlib import nullcontext

    from echorl.cli.bars import Bars
    from echorl.cli.eval_table import show_results
    from echorl.lab.evaluate.grading import score_again
    from echorl.lab.evaluate.run import sum_up
    from echorl.lab.evaluate.store import Store

    files: dict[Path, list[Path]] = {}
    for path in _sample_files(args.grade):
        folder = Path(os.path.relpath(path.resolve().parent.parent))  # of a file in this folder, too
        files.setdefault(folder, []).append(path)
    for folder, paths in files.items():
        store = Store(folder)
        of_an_evaluation = (folder / store.mark).exists()
        with store.locked() if of_an_evaluation else nullcontext(), Bars() as bars:
            changed = {path: score_again(path, args.data, bars) for path in paths}
        for path, number in changed.items():
            print(f"{path}: {number} scores changed")
        if of_an_evaluation:
            show_results(sum_up(store), folder)
    return 0


def _sample_files(places: list[Path]) -> list[Path]:
    """The files named, and those of the folders named."""
    files = [
        path for place in places for path in (sorted(place.glob("samples/*.parquet")) if place.is_dir() else [place])
    ]
    if not files:
        raise UserError(
            f"{places[0]} holds no samples/*.parquet: give an evaluation's output_dir, or files of samples."
        )
    return files


def _compare(args: argparse.Namespace) -> int:
    from echorl.cli.eval_table import show_contrast
    from echorl.lab.evaluate.contrast import contrast

    show_contrast(contrast(args.compare, args.benchmarks), *args.compare)
    return 0
