"""`echorl compare`: arms from one YAML, on equal rollout tokens, and a table of their paired differences."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.cli.errors import Interrupted, UserError
from echorl.compare.plan import Comparison, Run, read_comparison
from echorl.compare.run import claim, run_key, run_options, scores_key, scores_path, training_of
from echorl.processes import Job, run_jobs
from echorl.stored import last_value, stored, write_json


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "compare",
        help="run several arms on equal rollout tokens and compare them: echorl compare study.yaml",
        description="Train every arm of STUDY with every seed on equal rollout tokens, choose learning rates on a "
        "validation split, and print paired differences. What is finished is kept; the same command goes on.",
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="YAML: recipe, arms, rollout_tokens, seeds, ...")
    parser.add_argument("--output_dir", "--output-dir", metavar="DIR", help="instead of the study's")
    parser.add_argument("--parallel", type=int, metavar="N", help="runs at a time, instead of the study's")
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="list the runs and stop")


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError: the study or a run's recipe has something wrong.
        Interrupted: Ctrl-C.
    """
    from echorl.cli.recipe import read_recipe, read_recipes

    changes = {"output_dir": args.output_dir, "parallel": args.parallel}
    comparison = read_comparison(args.study, read_recipe(args.study), changes)
    recipe = read_recipes(comparison.recipe)
    study = Study(comparison, {**recipe.options, **({"env": dict(recipe.env)} if recipe.env else {})})
    if args.dry_run:
        _list(study)
        return 0
    _check_recipes(study)
    try:
        _compare(study)
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished is kept, and the same command goes on from there.") from None
    return 0


@dataclass(frozen=True)
class Study:
    """A comparison with its recipe read: from a run to its folder, options and results."""

    comparison: Comparison
    recipe: Mapping[str, Any]

    def folder(self, run: Run) -> Path:
        return Path(self.comparison.output_dir) / run.name

    def options(self, run: Run) -> dict[str, Any]:
        return run_options(self.comparison, self.recipe, run, self.folder(run))

    def key(self, run: Run) -> dict[str, Any]:
        return run_key(self.options(run))

    def training(self, run: Run) -> Any:
        return training_of(self.folder(run), self.key(run))

    def scores(self, run: Run, split: str) -> Any:
        return stored(scores_path(self.folder(run), split), scores_key(self.key(run), self.comparison, split))


def _list(study: Study) -> None:
    comparison = study.comparison
    for run in comparison.grid():
        print(f"grid   {run.name}{'  (done)' if study.scores(run, 'validation') else ''}")
    rest = len(comparison.arms) * len(comparison.seeds)
    print(f"then   {rest} runs at the chosen rates (those of the grid among them are not run again)")
    print(f"       {comparison.rollout_tokens} rollout tokens each, {comparison.parallel} at a time")


def _check_recipes(study: Study) -> None:
    """Refuse what `echorl train` would refuse, and what runs on equal tokens cannot have, before the first run."""
    comparison = study.comparison
    rate = comparison.learning_rates[0] if comparison.learning_rates else None
    splits = [*comparison.tests, *(["validation"] if comparison.grid() else [])]
    for arm in comparison.arms:
        try:
            _check_arm(study.options(Run(arm, rate, comparison.seeds[0])), " + ".join(comparison.recipe), splits)
        except (UserError, ValueError) as error:
            raise UserError(f"arm {arm!r}: {error}") from None


def _check_arm(options: dict[str, Any], recipe: str, splits: Sequence[str]) -> None:
    from echorl.cli.data import make_task
    from echorl.cli.parsing import parse
    from echorl.cli.recipe import Recipe
    from echorl.cli.train import train_command

    options = {name: value for name, value in options.items() if name != "env"}
    settings = parse(train_command(), Recipe(options=options, origin=dict.fromkeys(options, recipe)), [])
    scheduler = str(getattr(settings.training.lr_scheduler_type, "value", settings.training.lr_scheduler_type))
    if not scheduler.startswith("constant"):
        raise UserError(
            f"lr_scheduler_type={scheduler} decays over steps, but runs end at a number of tokens: set constant or "
            "constant_with_warmup."
        )
    task = make_task(settings.own)
    if task is None:
        raise UserError(f"{recipe} names no task: echorl compare scores runs on a task's splits.")
    for split in splits:
        if split not in task.splits:
            raise UserError(f"{split!r} is no split of the task; it has {', '.join(task.splits)}.")


def _compare(study: Study) -> None:
    comparison = study.comparison
    _work(study, comparison.grid(), ["validation"])
    validation = {run: _pass_at_1(study.scores(run, "validation")) for run in comparison.grid()}
    rates = comparison.chosen(validation)
    final = comparison.final(rates)
    _work(study, final, comparison.tests)
    results = {
        run: {"training": study.training(run), **{split: study.scores(run, split) for split in comparison.tests}}
        for run in final
    }
    _show(study, validation, rates, results)


def _show(study: Study, validation: Mapping[Run, float], rates: Mapping[str, Any], results: Mapping[Run, Any]) -> None:
    """Print the tables, and leave them as results.json and results.md."""
    from echorl.compare import table

    comparison, folder = study.comparison, Path(study.comparison.output_dir)
    compared = table.compare(comparison, rates, results)
    text = table.markdown(comparison, rates, compared)
    grid = {run.name: value for run, value in validation.items()}
    if validation:
        text = table.grid_markdown(comparison, validation, rates) + "\n" + text
    write_json(folder / "results.json", {"learning_rates": rates, "validation": grid, "tests": compared})
    (folder / "results.md").write_text(text, encoding="utf-8")
    print(text)


def _pass_at_1(scores: Mapping[str, Any]) -> float:
    from echorl.evaluate import pass_at_1

    return pass_at_1(scores["verdicts"]).value


def _work(study: Study, runs: Sequence[Run], splits: Sequence[str]) -> None:
    """Train and score what is missing, in processes."""
    from echorl.cli.bars import Bars

    missing = [r for r in runs if not study.training(r) or any(not study.scores(r, split) for split in splits)]
    for each in missing:
        claim(study.folder(each), study.key(each))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with Bars() as bars:
        jobs = [_job(study, each, splits) for each in missing]
        run_jobs(jobs, parallel=study.comparison.parallel, threads=study.comparison.threads, view=bars)


def _job(study: Study, run: Run, splits: Sequence[str]) -> Job:
    folder, comparison = study.folder(run), study.comparison
    score = {name: getattr(comparison, name) for name in ("prompts", "samples", "temperature")}
    work = {"options": study.options(run), "key": study.key(run), "splits": list(splits), **score}
    work["score_keys"] = {split: scores_key(study.key(run), comparison, split) for split in splits}
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
