"""`echorl compare`: arms from one YAML, on equal rollout tokens, and a table of their paired differences."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echorl.cli.bounds import COUNT, Bounds, add_option
from echorl.cli.errors import UserError, resumable
from echorl.cli.options import as_path
from echorl.compare.plan import Comparison, Run, Validation
from echorl.compare.read import read_comparison
from echorl.compare.run import check_study, claim, scores_key
from echorl.compare.study import Study
from echorl.processes import Job, JobsFailed, run_jobs, visible_gpus
from echorl.stored import last_value, write_json, write_text

SHOWN = ("method", "echo_coef", "echo_select")
"""Options of an arm that results.json keeps, for a report."""
DIVERGED = (
    "{} diverged (numbers that are not finite), so its arm has no result: lower the learning rate, or try the rates "
    "with more grid_seeds.\n"
)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "compare",
        help="run several arms on equal rollout tokens and compare them: echorl compare study.yaml",
        description="Train every arm of STUDY with every seed on equal rollout tokens, choose learning rates on a "
        "validation split, and print paired differences. What is finished is kept; the same command goes on.",
    )
    parser.add_argument("study", type=as_path, metavar="STUDY", help="YAML: recipe, arms, rollout_tokens, seeds, ...")
    parser.add_argument("--output_dir", "--output-dir", metavar="DIR", help="instead of the study's")
    text = "runs at a time, instead of the study's"
    add_option(parser, "--parallel", bounds=Bounds(1, 10**4), type=int, metavar="N", help=text)
    text = "the first N of the study's seeds; the rest may follow"
    add_option(parser, "--num_seeds", "--num-seeds", bounds=COUNT, type=int, metavar="N", help=text)
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="check the study, list its runs and stop")


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError: the study or a run's recipe has something wrong, a run failed, or another process is at the study.
        Interrupted: Ctrl-C.
    """
    from echorl.cli.compare_checks import check_arms
    from echorl.cli.lock import alone
    from echorl.cli.recipe import read_recipe, read_recipes

    changes = {"output_dir": args.output_dir, "parallel": args.parallel}
    comparison = read_comparison(args.study, _with_arms(args.study, read_recipe(args.study, "")), changes)
    comparison = _with_seeds(comparison, args.num_seeds)
    recipe = read_recipes(comparison.recipe, "recipe ")
    study = Study(comparison, {**recipe.options, **({"env": dict(recipe.env)} if recipe.env else {})})
    check_study(Path(comparison.output_dir))
    options = check_arms(study, args.study)
    if args.dry_run:
        _list(study)
        return 0
    with resumable(), alone(Path(comparison.output_dir), "compare"):
        _compare(study, {arm: {name: own.get(name) for name in SHOWN} for arm, own in options.items()})
    return 0


def _with_arms(path: Path, mapping: dict[str, Any]) -> dict[str, Any]:
    """The study's mapping, its arms read from a file of their own (relative to the study's) where it names one."""
    from echorl.cli.recipe import read_recipe

    arms = mapping.get("arms")
    return {**mapping, "arms": read_recipe(path.parent / arms, "arms ")} if isinstance(arms, str) else mapping


def _with_seeds(comparison: Comparison, number: int | None) -> Comparison:
    """The comparison on its first seeds."""
    if number is None:
        return comparison
    if not 1 <= number <= len(comparison.seeds):
        raise UserError(f"--num_seeds {number} is not allowed: the study has {len(comparison.seeds)} seeds.")
    return replace(comparison, seeds=comparison.seeds[:number])


def _list(study: Study) -> None:
    """Every run that is known: those at the chosen rates only once the grid is done."""
    comparison, grid, validation = study.comparison, study.comparison.grid(), study.validation()
    for run in grid:
        print(f"grid   {run.name}{_state(study, run, ['validation'])}")
    if validation is None:
        print(f"then   {len(comparison.arms) * len(comparison.seeds)} runs at the chosen rates")
    else:
        for run in comparison.final(comparison.chosen(validation)):
            print(f"{'then' if grid else 'run ':6} {run.name}{_state(study, run, list(comparison.tests))}")
    print(f"       {comparison.rollout_tokens} rollout tokens each, {comparison.parallel} at a time")
    print(f"       to the folder {comparison.output_dir}")


def _state(study: Study, run: Run, tests: Sequence[str]) -> str:
    state = study.state(run, tests)
    return f"  ({state})" if state else ""


def _compare(study: Study, methods: Mapping[str, Any]) -> None:
    comparison = study.comparison
    _work(study, comparison.grid(), ["validation"])
    validation = study.validation()
    assert validation is not None, "the grid is done"
    rates = comparison.chosen(validation)
    final = comparison.final(rates)
    _work(study, final, list(comparison.tests))
    diverged = [run for run in final if study.state(run, list(comparison.tests)) == "diverged"]
    without = {run.arm for run in diverged}
    results = study.results([run for run in final if run.arm not in without])
    if not results:
        raise UserError("every arm has a run that diverged (numbers that are not finite): lower the learning rates.")
    _show(study, validation, rates, results, {"methods": methods, "diverged": [run.name for run in diverged]})


def _show(
    study: Study, validation: Validation, rates: Mapping[str, Any], results: Mapping[Run, Any], more: Mapping[str, Any]
) -> None:
    """Print the tables, and leave them as results.json and results.md."""
    from echorl.compare import table

    comparison, folder = study.comparison, Path(study.comparison.output_dir)
    kept = {run.arm: rates[run.arm] for run in results}
    compared = table.compare(comparison, kept, results)
    grid = {run.name: value for run, value in validation.items()}
    found = {"learning_rates": rates, "validation": grid, "averages": list(comparison.averages), "tests": compared}
    found |= {"seeds": list(comparison.seeds), **more}
    write_json(folder / "results.json", found)
    parts = [_summary(found), table.grid_markdown(comparison, validation, rates) if validation else ""]
    text = "\n".join([*filter(None, parts), table.markdown(rates, compared)])
    write_text(folder / "results.md", text)
    print(text)


def _summary(found: Mapping[str, Any]) -> str:
    """What each arm does on solved prompts, costs and brings; and which runs diverged."""
    from echorl.compare.table import markdown_rows
    from echorl.report.verdicts import verdict_table

    parts = [DIVERGED.format(", ".join(found["diverged"]))] if found["diverged"] else []
    if table := verdict_table(found):
        parts.append(f"**{table.title}**\n\n{markdown_rows([table.head, *table.rows])}\n\n{table.note}\n")
    return "\n".join(parts)


def _work(study: Study, runs: Sequence[Run], tests: Sequence[str]) -> None:
    """Train and score what is missing, in processes."""
    from echorl.cli.bars import Bars

    comparison = study.comparison
    missing = [each for each in runs if not study.state(each, tests)]
    if not missing:
        return
    for each in missing:
        claim(study.folder(each), study.key(each))
    jobs, gpus = [_job(study, each, tests) for each in missing], visible_gpus()
    try:
        with Bars() as bars:
            run_jobs(jobs, parallel=comparison.parallel, threads=comparison.threads, gpus=gpus, view=bars)
    except JobsFailed as error:
        raise UserError(f"{error}; what is finished is kept, and the same command tries the rest again.") from None


def _job(study: Study, run: Run, tests: Sequence[str]) -> Job:
    folder, comparison = study.folder(run), study.comparison
    work = {"options": study.options(run), "key": study.key(run)}
    work["tests"] = {test: scores_key(study.key(run), comparison, test) for test in tests}
    return Job(
        text=run.name,
        name=run.name,
        module="echorl.cli.compare_worker",
        arguments=(str(folder), json.dumps(work)),
        log=folder / "log",
        total=comparison.rollout_tokens,
        done=lambda: _tokens(folder / "policy" / "metrics.jsonl"),
    )


def _tokens(metrics: Path) -> int:
    """Rollout tokens so far."""
    return int(last_value(metrics, "echo/rollout_tokens") or 0)
