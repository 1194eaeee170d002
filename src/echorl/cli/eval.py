"""`echorl eval`: sample a model's answers to benchmarks, score them, and print the scores with intervals."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from echorl.cli.models import (
    BENCHMARK,
    DEVICE,
    MODEL,
    base_name,
    default_device,
    find_benchmarks,
    find_checkpoint,
    start_engine,
)
from echorl.cli.parser import CommandOptions, part_of
from echorl.core.options import option
from echorl.lab.options import COUNT, Sampling
from echorl.support.errors import UserError

NEEDED = {"trl,tasks": ("transformers", "pyarrow", "filelock", "rich")}
SAMPLING = tuple(each.name for each in fields(Sampling))
WITHOUT_EFFECT = {
    "model": (),
    "compare": (*SAMPLING, "data", "device", "output_dir"),
    "grade": (*SAMPLING, "benchmarks", "device", "output_dir"),
}
"""Option that says what to do -> options that have no effect with it."""


@dataclass(frozen=True, kw_only=True)
class EvalOptions(Sampling, CommandOptions):
    """Sample a model's answers to benchmarks, score them, and print avg@k, pass@k and maj@k with intervals. What is
    sampled is kept; the same command goes on. See docs/guides/eval.md.
    """

    model: str | None = option(None, MODEL)
    benchmarks: tuple[str, ...] | None = option(None, BENCHMARK)
    data: str | None = option(None, "The benchmarks' files, instead of the hub's data sets.")
    batch_size: int | None = option(  # type: ignore[assignment]  # in `Sampling` it is chosen
        None, "Completions that are sampled and stored at once; default: 32, with vLLM 256.", **COUNT
    )
    backend: Literal["transformers", "vllm"] = option("transformers", "What samples.")
    device: str | None = option(None, f"{DEVICE} Not with vLLM.")
    output_dir: Path | None = option(None, "Folder of the results; default: runs/eval/MODEL.")
    compare: tuple[Path, Path] | None = option(None, "Two folders of results: the second minus the first, paired.")
    grade: tuple[Path, ...] | None = option(None, "Files of samples, or folders of results, to score without a model.")


def run(args: EvalOptions) -> None:
    """Run the command.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    names = tuple(name for word in args.benchmarks or () for name in word.split(",") if name)
    args = replace(args, benchmarks=names or None)
    _check(args)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if args.compare:
        _compare(args.compare, args.benchmarks)
    elif args.grade:
        _grade(args.grade, args.data)
    else:
        _evaluate(args)


def _check(args: EvalOptions) -> None:
    """Refuse options that do not go together."""
    actions = [name for name in WITHOUT_EFFECT if getattr(args, name)]
    if len(actions) != 1:
        given = " and ".join(f"--{name}" for name in actions) or "nothing to do"
        raise UserError(f"{given} given: give exactly one of --model (with --benchmarks), --compare and --grade.")
    if unused := [name for name in WITHOUT_EFFECT[actions[0]] if name in args.given]:
        raise UserError(f"--{unused[0]} has no effect with --{actions[0]}: leave it out.")
    if args.model and not args.benchmarks:
        raise UserError(
            "--benchmarks is missing: name one or more, such as math500 (docs/reference/benchmarks.md lists them)."
        )
    if args.device and args.backend == "vllm":
        raise UserError(
            f"--device {args.device} is for the backend 'transformers': vLLM chooses its own; leave it out."
        )


def _evaluate(args: EvalOptions) -> None:
    assert args.model is not None
    assert args.benchmarks is not None, "checked"
    benchmarks = find_benchmarks(args.benchmarks)

    from echorl.lab.evaluate.plan import BATCH_SIZES, sampling_settings
    from echorl.lab.evaluate.store import Store

    sampling = part_of(replace(args, batch_size=args.batch_size or BATCH_SIZES[args.backend]), Sampling)
    store = Store(args.output_dir or Path("runs/eval", base_name(args.model)))
    samples = {each.name: {"samples": sampling.samples or each.samples} for each in benchmarks}
    store.check_early_for(sampling_settings(sampling, args.backend), samples)
    checkpoint, device = find_checkpoint(args.model), args.device or default_device()

    from echorl.cli.bars import working_in
    from echorl.lab.evaluate.engines import check_vllm
    from echorl.lab.evaluate.run import evaluate, prepare, settings_of

    if args.backend == "vllm":
        check_vllm()
    works = prepare(args.benchmarks, checkpoint, sampling, args.data)
    for note in (note for work in works for note in work.benchmark.notes()):
        print(f"Note: {note}", file=sys.stderr)
    start = cache(partial(start_engine, args.backend, checkpoint, sampling, works, device))
    with working_in(store) as bars:
        settings = settings_of(checkpoint, sampling, args.backend, device)
        results = evaluate(store, args.model, works, settings, start, bars)
    if not start.cache_info().misses:
        print("All samples were drawn by an earlier call: nothing was sampled again.", file=sys.stderr)
    _show(results, store.path)


def _grade(places: Sequence[Path], data: str | None) -> None:
    """Score files in place; where they lie in an evaluation's folder, make its results anew."""
    from echorl.cli.bars import working_in
    from echorl.lab.evaluate.grading import score_again
    from echorl.lab.evaluate.run import sum_up
    from echorl.lab.evaluate.store import Store

    files: dict[Path, list[Path]] = {}
    for path in _sample_files(places):
        folder = Path(os.path.relpath(path.resolve().parent.parent))  # also of a file that is named without a folder
        files.setdefault(folder, []).append(path)
    for folder, paths in files.items():
        store = Store(folder)
        is_evaluation = (folder / store.mark).exists()
        with working_in(store if is_evaluation else None) as bars:
            changes = {path: score_again(path, data, bars) for path in paths}
        for path, number in changes.items():
            print(f"{path}: {number} scores changed")
        if is_evaluation:
            _show(sum_up(store), folder)


def _sample_files(places: Sequence[Path]) -> list[Path]:
    """Return the files among the places, and the files of samples in the folders among them."""
    files = [
        path for place in places for path in (sorted(place.glob("samples/*.parquet")) if place.is_dir() else [place])
    ]
    if not files:
        raise UserError(
            f"{places[0]} holds no samples/*.parquet: give an evaluation's output_dir, or files of samples."
        )
    return files


def _show(results: Mapping[str, Any], folder: Path) -> None:
    """Print a table with a row for each benchmark and for the averages, and the answers that were not compared."""
    from echorl.cli.tables import print_table
    from echorl.lab.evaluate.store import RESULTS
    from echorl.lab.evaluate.table import HEAD, results_rows
    from echorl.tasks.verify.base import NO_ANSWER

    print_table(f"{results['model']}, in %", HEAD, results_rows(results))
    for name, row in results["benchmarks"].items():
        if reasons := [f"{count} {reason}" for reason, count in row["reasons"].items() if reason != NO_ANSWER]:
            print(f"{name}: scored 0 without having been compared: {', '.join(reasons)}")
    print(f"samples: {folder / 'samples'}  numbers: {folder / RESULTS}")


def _compare(places: tuple[Path, Path], benchmarks: Sequence[str] | None) -> None:
    """Print a table with a row for each benchmark and measure, and for the averages."""
    from echorl.lab.evaluate.store import evaluation_in

    for place in places:
        evaluation_in(place)  # refused before torch is imported

    from echorl.cli.tables import print_table
    from echorl.lab.evaluate.contrast import contrast
    from echorl.lab.evaluate.table import average_name, interval, percent

    result = contrast(places, benchmarks)
    measures = [
        (name, measure, row) for name, each in result["benchmarks"].items() for measure, row in each["measures"].items()
    ]
    cells = [([name, measure, percent(row["first"]), percent(row["second"])], row) for name, measure, row in measures]
    cells += [([average_name(kind, row), "avg@k", "", ""], row) for kind, row in result["averages"].items()]
    rows = [[*texts, f"{100 * row['value']:+.1f}", interval(row, "+")] for texts, row in cells]
    head = ["benchmark", "measure", "A", "B", "B - A", "95 %"]
    print_table("A = {}, B = {}, in %".format(*places), head, rows)
    if equal := [f"{texts[0]} {texts[1]}" for texts, row in cells if row["no_spread"]]:
        print(
            f"intervals without width ({', '.join(equal)}): all items differ by the same, so that a bootstrap cannot "
            "estimate the uncertainty"
        )
