"""`echorl eval`: sample a model's answers to benchmarks, score them, and say what follows, with intervals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from echorl.cli.models import DEVICE, MODEL
from echorl.cli.parser import parse, part_of, with_underscores
from echorl.core.options import option
from echorl.lab.options import COUNT, Sampling
from echorl.support.errors import UserError, as_user_error, resumable
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.engines import Engine
    from echorl.lab.evaluate.plan import Work

NEEDED = ("transformers", "pyarrow", "filelock", "rich")
SAMPLING = tuple(each.name for each in fields(Sampling))
NOT_FOR = {
    "model": (),
    "compare": (*SAMPLING, "data", "device", "output_dir"),
    "grade": (*SAMPLING, "benchmarks", "device", "output_dir"),
}
"""What is asked for -> options that it doesn't look at."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions(Sampling):
    """Sample a model's answers to benchmarks, score them, and print avg@k, pass@k and maj@k with intervals. What is
    sampled is kept; the same command goes on. See docs/eval.md.
    """

    model: str | None = option(None, MODEL)
    benchmarks: tuple[str, ...] | None = option(None, "aime24, math500 and others (docs/eval.md), or TASK[:SPLIT].")
    data: str | None = option(None, "The benchmarks' files, instead of the hub's data sets.")
    batch_size: int | None = option(  # type: ignore[assignment]  # in `Sampling` it is chosen
        None, "Completions that are sampled and stored at once; default: 32, with vLLM 256.", **COUNT
    )
    backend: Literal["transformers", "vllm"] = option("transformers", "What samples.")
    device: str | None = option(None, f"{DEVICE} Not with vLLM.")
    output_dir: Path | None = option(None, "Folder of the results; default: runs/eval/MODEL.")
    compare: tuple[Path, Path] | None = option(None, "Two folders of results: the second less the first, paired.")
    grade: tuple[Path, ...] | None = option(None, "Files of samples, or folders of results, to score without a model.")


def run(argv: Sequence[str]) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    args = parse("eval", EvalOptions, argv)
    names = tuple(name for word in args.benchmarks or () for name in word.split(",") if name)
    args = replace(args, benchmarks=names or None)
    _check(args, {word.partition("=")[0] for word in with_underscores(argv)})
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    with resumable():
        if args.compare:
            return _compare(args.compare, args.benchmarks)
        return _grade(args.grade, args.data) if args.grade else _evaluate(args)


def _check(args: EvalOptions, words: set[str]) -> None:
    """Refuse options that do not go together, those of the command line's words among them."""
    check_installed("`echorl eval`", NEEDED, "trl,tasks")
    asked = [name for name in ("model", "compare", "grade") if getattr(args, name)]
    if len(asked) != 1:
        given = " and ".join(f"--{name}" for name in asked) or "nothing to do"
        raise UserError(f"{given} given: give exactly one of --model (with --benchmarks), --compare and --grade.")
    if unused := [name for name in NOT_FOR[asked[0]] if f"--{name}" in words]:
        raise UserError(f"--{unused[0]} says nothing to --{asked[0]}: leave it out.")
    if args.model and not args.benchmarks:
        raise UserError("--benchmarks is missing: name one or more, such as math500 (docs/eval.md lists them).")
    if args.device and args.backend == "vllm":
        raise UserError(
            f"--device {args.device} is for the backend 'transformers': vLLM chooses its own; leave it out."
        )


def _evaluate(args: EvalOptions) -> int:
    from functools import partial

    from echorl.cli.bars import Bars
    from echorl.cli.eval_table import show_results
    from echorl.cli.models import default_device, find_checkpoint
    from echorl.lab.evaluate.engines import BATCH_SIZES, check_vllm
    from echorl.lab.evaluate.run import evaluate, prepare, settings_of
    from echorl.lab.evaluate.store import Store

    assert args.model is not None
    assert args.benchmarks is not None, "checked"
    sampling = part_of(replace(args, batch_size=args.batch_size or BATCH_SIZES[args.backend]), Sampling)
    if args.backend == "vllm":
        check_vllm()
    checkpoint, device = find_checkpoint(args.model), args.device or default_device()
    with as_user_error(ImportError, doing="a benchmark needs a package (pip install 'echorl[tasks]')"):
        works = prepare(args.benchmarks, checkpoint, sampling, args.data)
    folder = args.output_dir or Path("runs/eval", Path(os.path.abspath(args.model)).name)  # "." has no name
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


def _grade(places: Sequence[Path], data: str | None) -> int:
    """Score files in place; where they lie in an evaluation's folder its results are made anew."""
    from contextlib import nullcontext

    from echorl.cli.bars import Bars
    from echorl.cli.eval_table import show_results
    from echorl.lab.evaluate.grading import score_again
    from echorl.lab.evaluate.run import sum_up
    from echorl.lab.evaluate.store import Store

    files: dict[Path, list[Path]] = {}
    for path in _sample_files(places):
        folder = Path(os.path.relpath(path.resolve().parent.parent))  # of a file in this folder, too
        files.setdefault(folder, []).append(path)
    for folder, paths in files.items():
        store = Store(folder)
        of_an_evaluation = (folder / store.mark).exists()
        with store.locked() if of_an_evaluation else nullcontext(), Bars() as bars:
            changed = {path: score_again(path, data, bars) for path in paths}
        for path, number in changed.items():
            print(f"{path}: {number} scores changed")
        if of_an_evaluation:
            show_results(sum_up(store), folder)
    return 0


def _sample_files(places: Sequence[Path]) -> list[Path]:
    """The files named, and those of the folders named."""
    files = [
        path for place in places for path in (sorted(place.glob("samples/*.parquet")) if place.is_dir() else [place])
    ]
    if not files:
        raise UserError(
            f"{places[0]} holds no samples/*.parquet: give an evaluation's output_dir, or files of samples."
        )
    return files


def _compare(places: tuple[Path, Path], benchmarks: Sequence[str] | None) -> int:
    from echorl.cli.eval_table import show_contrast
    from echorl.lab.evaluate.contrast import contrast

    show_contrast(contrast(places, benchmarks), *places)
    return 0
