"""`echorl analyze`: experts' solutions beside the policy's own, and what is lost with their steps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echorl.cli.models import ModelOptions
from echorl.cli.parser import parse, part_of, required
from echorl.core.options import option
from echorl.lab.options import COUNT, TEMPERATURE, Deletion, Prompts, RolloutColumns, SampledRollouts, Scoring
from echorl.support.errors import UserError, as_user_error, resumable
from echorl.support.folder import ResultFolder
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    from echorl.lab.analyze.run import Loaders, Plan
    from echorl.lab.analyze.source import Source
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.engines import Engine
    from echorl.lab.evaluate.plan import Work
    from echorl.lab.mine.scorer import Scorer
    from echorl.lab.options import Sampling

NEEDED = ("transformers", "datasets", "pyarrow", "filelock", "rich", "matplotlib", "scipy")
A_ROW = 3
"""Plots side by side in a picture: those of the deletion from one kind of solutions."""


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions(SampledRollouts, Deletion, Scoring, Prompts, RolloutColumns, ModelOptions):
    """Look at experts' solutions and at a policy's own. `echorl analyze entropy` compares the entropies of
    demonstrations with those of the policy's own right rollouts on the same prompts; `echorl analyze deletion` deletes
    steps by entropy, lets the policy go on from what is left, and shows how accuracy falls. What is sampled is kept;
    the same command goes on. See docs/analyze.md.
    """

    analysis: Literal["entropy", "deletion"] = required("'entropy' or 'deletion'.", positional=True)
    benchmark: str | None = option(
        None,
        "A task that has demonstrations, as TASK (its split 'test') or TASK:SPLIT, or that of a training recipe, "
        "my-recipe.yaml.",
    )
    data: str | None = option(None, "The task's files, instead of the hub's data set.")
    file: Path | None = option(
        None,
        "Instead of a task: JSONL, Parquet or CSV with prompt, demonstration (or target) and, for the grader, answer.",
    )
    grader: Literal["math", "choice", "number"] | None = option(None, "Grader of the column 'answer' of --file.")
    prompts: int = option(100, "The first prompts that have a demonstration.", **COUNT)
    rollouts: tuple[Path, ...] | None = option(
        None, "Stored rollouts instead of sampling them, in any layout of docs/mine.md; others' prompts are excluded."
    )
    samples: int = option(4, "Rollouts of each prompt.", **COUNT)
    temperature: float = option(
        1.0,
        "Temperature of the sampling and of the entropies; 0 takes the likeliest token, and its entropies are those at "
        "temperature 1.",
        ge=0,
        le=TEMPERATURE["le"],
    )
    output_dir: Path | None = option(
        None, "Folder of the results, which the analyses share; default: runs/analyze/MODEL-TASK."
    )


def run(argv: Sequence[str]) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    args = parse("analyze", AnalyzeOptions, argv)
    check_installed("`echorl analyze`", NEEDED, "trl,lab")
    with resumable():
        return _analyze(args)


def _analyze(args: AnalyzeOptions) -> int:
    from echorl.cli.bars import Bars
    from echorl.cli.models import find_checkpoint
    from echorl.lab.analyze.run import analyze_deletion, analyze_entropy
    from echorl.lab.evaluate.store import slug

    source = _source(args)
    plan = _plan(args, source, find_checkpoint(args.model))
    model = Path(os.path.abspath(args.model)).name  # "." has no name
    folder = args.output_dir or Path("runs/analyze", f"{model}-{slug(source.benchmark.name)}")
    analysis = {"entropy": analyze_entropy, "deletion": analyze_deletion}[args.analysis]
    with ResultFolder(folder, "analyze").locked(), Bars() as bars:
        found = analysis(folder, plan, _loaders(plan, args.tokens_at_once), bars)
    _show(found, folder, args.analysis)
    return 0


def _source(args: AnalyzeOptions) -> Source:
    from echorl.lab.analyze.source import from_file, from_task, limit

    if (args.benchmark is None) == (args.file is None):
        raise UserError("give one of --benchmark (a task with demonstrations) and --file (rows with demonstrations).")
    unused = ["grader"] if args.benchmark else ["data"]
    if given := [name for name in unused if getattr(args, name) is not None]:
        raise UserError(f"--{given[0]} says nothing to {'a task' if args.benchmark else '--file'}: leave it out.")
    if args.analysis == "entropy" and part_of(args, Deletion) != Deletion():
        raise UserError("--traces and --finishes are options of `echorl analyze deletion`: leave them out.")
    with as_user_error(ImportError, doing="a task needs a package (pip install 'echorl[tasks]')"):
        found = from_file(args.file, args.grader or "") if args.file else from_task(args.benchmark or "", args.data)
    return limit(found, args.prompts, chat=args.chat)


def _plan(args: AnalyzeOptions, source: Source, checkpoint: Checkpoint) -> Plan:
    from echorl.cli.models import default_device
    from echorl.lab.analyze.run import Plan
    from echorl.lab.mine.rows import find_files
    from echorl.lab.options import Columns, Sampling

    return Plan(
        checkpoint=checkpoint,
        source=source,
        sampling=Sampling(**vars(part_of(args, SampledRollouts))),
        device=args.device or default_device(),
        rollouts=find_files(args.rollouts or []),
        columns=Columns(**vars(part_of(args, RolloutColumns))),
        **vars(part_of(args, Deletion)),
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
