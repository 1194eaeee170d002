"""`echorl analyze`: the entropies of experts' solutions and of the policy's, and accuracy without some steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echorl.cli.models import ModelOptions, base_name, default_device, find_checkpoint, load_model, start_engine
from echorl.cli.parser import part_of, required
from echorl.core.options import option
from echorl.lab.logs.files import find_files
from echorl.lab.options import (
    COUNT,
    TEMPERATURE,
    Columns,
    Deletion,
    Prompts,
    RolloutColumns,
    SampledRollouts,
    Sampling,
    Scoring,
)
from echorl.lab.report.charts import Chart
from echorl.lab.report.plots import draw
from echorl.support.errors import UserError, as_user_error
from echorl.support.files import write_bytes
from echorl.support.folder import ResultFolder
from echorl.support.installed import install_command

if TYPE_CHECKING:
    from echorl.lab.analyze.run import Loaders, Plan
    from echorl.lab.analyze.source import Source
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.engines import Engine
    from echorl.lab.evaluate.plan import Work
    from echorl.lab.mine.scorer import Scorer

NEEDED = {"trl,lab": ("transformers", "datasets", "pyarrow", "filelock", "rich", "matplotlib", "scipy")}
PLOTS_IN_A_PICTURE = 3
"""Plots side by side: those of the deletion from one kind of solutions."""


@dataclass(frozen=True, kw_only=True)
class AnalyzeOptions(SampledRollouts, Deletion, Scoring, Prompts, RolloutColumns, ModelOptions):
    """Look at experts' solutions and at a policy's own. `echorl analyze entropy` compares the entropies of
    demonstrations with those of the policy's own right rollouts on the same prompts; `echorl analyze deletion` deletes
    steps by entropy, lets the policy go on from what is left, and shows how accuracy falls. What is sampled is kept;
    the same command goes on. See docs/guides/analyze.md.
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
        None,
        "Stored rollouts instead of sampling them, in any layout of docs/reference/files.md; those of other prompts "
        "are excluded.",
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


def run(args: AnalyzeOptions) -> None:
    """Run the command.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    source = _source(args)
    plan = _plan(args, source, find_checkpoint(args.model))

    from echorl.cli.bars import working_in
    from echorl.lab.analyze.run import analyze_deletion, analyze_entropy
    from echorl.lab.evaluate.store import slug

    folder = args.output_dir or Path("runs/analyze", f"{base_name(args.model)}-{slug(source.benchmark.name)}")
    analyze = {"entropy": analyze_entropy, "deletion": analyze_deletion}[args.analysis]
    with working_in(ResultFolder(folder, "analyze")) as bars:
        result = analyze(folder, plan, _loaders(plan, args.tokens_at_once), bars)
    _show(result, folder, args.analysis)


def _source(args: AnalyzeOptions) -> Source:
    from echorl.lab.analyze.source import from_file, from_task, limit

    if (args.benchmark is None) == (args.file is None):
        raise UserError("give one of --benchmark (a task with demonstrations) and --file (rows with demonstrations).")
    unused, place = ("grader", "--benchmark") if args.benchmark else ("data", "--file")
    if unused in args.given:
        raise UserError(f"--{unused} has no effect with {place}: leave it out.")
    if args.analysis == "entropy" and args.given & {"traces", "finishes"}:
        raise UserError("--traces and --finishes are options of `echorl analyze deletion`: leave them out.")
    with as_user_error(ImportError, doing=f"a task needs a package ({install_command('tasks')})"):
        source = from_file(args.file, args.grader or "") if args.file else from_task(args.benchmark or "", args.data)
    return limit(source, args.prompts, chat=args.chat)


def _plan(args: AnalyzeOptions, source: Source, checkpoint: Checkpoint) -> Plan:
    from echorl.lab.analyze.run import Plan

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
    from echorl.lab.analyze.run import Loaders
    from echorl.lab.mine.scorer import Scorer

    def scorer(temperature: float) -> Scorer:
        model = load_model(plan.checkpoint, plan.device)[0]
        return Scorer(model, temperature=temperature, tokens_at_once=tokens_at_once)

    def engine(works: Sequence[Work], sampling: Sampling) -> Engine:
        return start_engine("transformers", plan.checkpoint, sampling, works, plan.device)

    return Loaders(engine=engine, scorer=scorer)


def _show(result: Mapping[str, Any], folder: Path, analysis: str) -> None:
    """Draw the plots, and print the tables and the findings."""
    from echorl.cli.tables import print_table

    for table in result["tables"]:
        print_table(table["title"], table["head"], table["rows"])
        print(table["note"] + "\n" if table["note"] else "")
    for sentence in result["findings"]:
        print(f"* {sentence}")
    pictures = ", ".join(map(str, _draw(result["curves"], folder, analysis)))
    print(f"numbers: {folder / f'{analysis}.json'}  plots: {pictures}")


def _draw(curves: Sequence[Mapping[str, Any]], folder: Path, analysis: str) -> list[Path]:
    """Draw pictures of `PLOTS_IN_A_PICTURE` curves each, as PNG and as SVG. Returns the PNGs' paths."""
    starts = range(0, len(curves), PLOTS_IN_A_PICTURE)
    paths = []
    for number, start in enumerate(starts, 1):
        row = curves[start : start + PLOTS_IN_A_PICTURE]
        panels = [partial(Chart.from_json(curve).draw, legend=True) for curve in row]
        path = folder / (f"{analysis}-{number}.png" if len(starts) > 1 else f"{analysis}.png")
        for each in (path, path.with_suffix(".svg")):
            write_bytes(each, draw(panels, size=(4.4, 3.3), suffix=each.suffix[1:]))
        paths.append(path)
    return paths
