"""`echorl analyze`: experts' solutions beside the policy's own, and what is lost with their steps."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.cli.options import add_device, as_path, spellings
from echorl.support.bounds import COUNT, SAMPLING_TEMPERATURE, SEED, TOKENS, add_option
from echorl.support.errors import UserError, as_user_error, resumable
from echorl.support.folder import ResultFolder
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    from echorl.lab.analyze.run import Loaders, Plan
    from echorl.lab.analyze.source import Source
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.engines import Engine
    from echorl.lab.evaluate.plan import Sampling, Work
    from echorl.lab.mine.scorer import Scorer

NEEDED = ("transformers", "datasets", "pyarrow", "filelock", "rich", "matplotlib", "scipy")
WHAT = {
    "entropy": "entropies of demonstrations against those of the policy's own right rollouts on the same prompts",
    "deletion": "delete steps by entropy, let the policy go on from what is left, and see how accuracy falls",
}
OWN: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "deletion": {
        "traces": (2, "right rollouts a prompt to delete from"),
        "finishes": (4, "completions of what is left"),
    },
}
"""Analysis -> its own options, with their defaults."""
GRADERS = ("math", "choice", "number")
A_ROW = 3
"""Plots side by side in a picture: those of the deletion from one kind of solutions."""
SAMPLING = {
    "samples": (int, "G", 4, "rollouts of each prompt"),
    "temperature": (float, "T", 1.0, "of the sampling and of the entropies"),
    "max_new_tokens": (int, "N", None, "of a rollout; default 8192, or less where the model's context is shorter"),
    "batch_size": (int, "N", 32, "rollouts sampled (and solutions scored) and stored at once"),
    "seed": (int, "S", 0, "of everything that is drawn"),
}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command, its two analyses and their options."""
    parser = subparsers.add_parser(
        "analyze",
        help="golden trajectories: echorl analyze entropy|deletion --model FOLDER --benchmark TASK",
        description="Look at experts' solutions and at a policy's own. What is sampled is kept; the same "
        "command goes on. See docs/analyze.md.",
    )
    kinds = parser.add_subparsers(dest="what", metavar="ANALYSIS", required=True)
    for name, text in WHAT.items():
        kind = kinds.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. See docs/analyze.md.")
        _add_source(kind)
        _add_sampling(kind)
        for option, (default, what) in OWN.get(name, {}).items():
            text = f"{what}; default: %(default)s"
            add_option(kind, f"--{option}", bounds=COUNT, type=int, default=default, metavar="N", help=text)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="a folder, a model of the hub, 'quickstart' or 'smollm2'"
    )
    parser.add_argument("--benchmark", metavar="TASK", help="a task with demonstrations, as TASK[:SPLIT]")
    parser.add_argument("--data", metavar="PATH", help="the task's files, instead of the hub's data set")
    parser.add_argument(
        "--file", type=as_path, help="instead of a task: rows with prompt and demonstration (or target)"
    )
    parser.add_argument("--grader", choices=GRADERS, help="of the column 'answer' of --file")
    parser.add_argument("--chat", action="store_true", help="write prompts that are text as a user's chat message")
    text = "the first N; default: %(default)s"
    add_option(parser, "--prompts", bounds=COUNT, type=int, default=100, metavar="N", help=text)
    parser.add_argument("--rollouts", nargs="+", type=as_path, metavar="FILE", help="stored ones, instead of sampling")
    for name in ("prompt", "response", "reward"):
        parser.add_argument(f"--{name}", metavar="COLUMN", help=f"the rollouts' column of the {name}")


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    for name, (kind, metavar, default, text) in SAMPLING.items():
        text = text if default is None else f"{text}; default: {default}"
        bounds = {"temperature": SAMPLING_TEMPERATURE, "seed": SEED}.get(name, COUNT)
        add_option(parser, *spellings(name), bounds=bounds, type=kind, default=default, metavar=metavar, help=text)
    text = "in one forward; default: %(default)s"
    add_option(parser, *spellings("tokens_at_once"), bounds=TOKENS, type=int, default=8192, metavar="N", help=text)
    add_device(parser)
    parser.add_argument(*spellings("output_dir"), metavar="DIR", help="default: runs/analyze/MODEL-TASK")


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    check_installed("`echorl analyze`", NEEDED, "trl,lab")
    with resumable():
        return _analyze(args)


def _analyze(args: argparse.Namespace) -> int:
    from echorl.cli.bars import Bars
    from echorl.cli.models import find_checkpoint
    from echorl.lab.analyze.run import analyze_deletion, analyze_entropy
    from echorl.lab.evaluate.store import slug

    source = _source(args)
    plan = _plan(args, source, find_checkpoint(args.model))
    model = Path(os.path.abspath(args.model)).name  # "." has no name
    folder = Path(args.output_dir or Path("runs/analyze", f"{model}-{slug(source.benchmark.name)}"))
    analysis = {"entropy": analyze_entropy, "deletion": analyze_deletion}[args.what]
    with ResultFolder(folder, "analyze").locked(), Bars() as bars:
        found = analysis(folder, plan, _loaders(plan, args.tokens_at_once), bars)
    _show(found, folder, args.what)
    return 0


def _source(args: argparse.Namespace) -> Source:
    from echorl.lab.analyze.source import from_file, from_task, limit

    if (args.benchmark is None) == (args.file is None):
        raise UserError("give one of --benchmark (a task with demonstrations) and --file (rows with demonstrations).")
    unused = ["grader"] if args.benchmark else ["data"]
    if given := [name for name in unused if getattr(args, name) is not None]:
        raise UserError(f"--{given[0]} says nothing to {'a task' if args.benchmark else '--file'}: leave it out.")
    if args.prompts < 1:
        raise UserError(f"prompts={args.prompts} is not allowed: give 1 or more.")
    with as_user_error(ImportError, doing="a task needs a package (pip install 'echorl[tasks]')"):
        found = from_task(args.benchmark, args.data) if args.benchmark else from_file(args.file, args.grader or "")
    return limit(found, args.prompts, chat=args.chat)


def _plan(args: argparse.Namespace, source: Source, checkpoint: Checkpoint) -> Plan:
    from echorl.cli.models import default_device
    from echorl.lab.analyze.run import Plan
    from echorl.lab.evaluate.plan import Sampling
    from echorl.lab.mine.layouts import Columns
    from echorl.lab.mine.rows import find_files

    own = {name: getattr(args, name) for name in OWN.get(args.what, {})}
    return Plan(
        checkpoint=checkpoint,
        source=source,
        sampling=Sampling(**{name: getattr(args, name) for name in SAMPLING}),
        device=args.device or default_device(),
        rollouts=find_files(args.rollouts or []),
        columns=Columns(**{name: getattr(args, name) for name in ("prompt", "response", "reward")}),
        **own,
    )


def _loaders(plan: Plan, tokens_at_once: int) -> Loaders:
    from echorl.cli.models import load_model, loading
    from echorl.lab.analyze.run import Loaders

    def engine(works: Sequence[Work], sampling: Sampling) -> Engine:
        from echorl.lab.evaluate.engines import start

        with loading(plan.checkpoint, plan.device):
            return start("transformers", plan.checkpoint, sampling, works, plan.device)

    def scorer(temperature: float) -> Scorer:
        from echorl.lab.mine.scorer import Scorer

        model = load_model(plan.checkpoint, plan.device)[0]
        return Scorer(model, temperature=temperature, tokens_at_once=tokens_at_once)

    return Loaders(engine=engine, scorer=scorer)


def _show(found: Mapping[str, Any], folder: Path, what: str) -> None:
    """Draw the plots, print the tables and what follows."""
    from echorl.cli.eval_table import print_table

    for table in found["tables"]:
        print_table(table["title"], table["head"], table["rows"])
        print(table["note"] + "\n" if table["note"] else "")
    for sentence in found["findings"]:
        print(f"* {sentence}")
    print(f"numbers: {folder / f'{what}.json'}  plots: {', '.join(map(str, _draw(found['curves'], folder, what)))}")


def _draw(curves: Sequence[Mapping[str, Any]], folder: Path, what: str) -> list[Path]:
    """Pictures of `A_ROW` curves each, as PNG and as SVG. Returns the PNGs' paths."""
    from functools import partial

    from echorl.lab.report.charts import Chart
    from echorl.lab.report.plots import draw
    from echorl.support.files import write_bytes

    rows = [curves[start : start + A_ROW] for start in range(0, len(curves), A_ROW)]
    paths = []
    for number, row in enumerate(rows, 1):
        panels = [partial(Chart.from_json(curve).draw, legend=True) for curve in row]
        path = folder / (f"{what}-{number}.png" if len(rows) > 1 else f"{what}.png")
        for each in (path, path.with_suffix(".svg")):
            write_bytes(each, draw(panels, size=(4.4, 3.3), suffix=each.suffix[1:]))
        paths.append(path)
    return paths
