"""A study from start to end: missing runs are trained and scored in processes, then the results are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echorl.lab.compare.add import Addition
from echorl.lab.compare.added_rows import added_results, compare_repeat, repeat_sentence
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.plan_checks import RESULTS
from echorl.lab.compare.results import make_results, results_markdown
from echorl.lab.compare.run import MARK, scores_key
from echorl.lab.compare.study import Study
from echorl.lab.jobs import Job, JobsFailed, View, run_jobs, visible_gpus
from echorl.support.errors import UserError
from echorl.support.files import last_value, read_json, write_json, write_text
from echorl.train.run_folder import checkpoints, is_complete, progress

COUNTED = {"rollout_tokens": ("echo/rollout_tokens", "rollout_tokens"), "steps": ("step", "updates")}
"""Budget of a run -> the metric that counts towards it, and its name in the progress of a checkpoint."""


def run_study(study: Study, methods: Mapping[str, Any], view: View | None = None) -> dict[str, Any]:
    """Train and score every run that is not finished, and return the results.

    Args:
        methods: arm -> the options of its method, which the results keep.
        view: shows progress.

    Raises:
        ValueError: a run failed, or its folder holds something else.
    """
    _make_runs(study, view)
    return make_results(study, methods)


def run_addition(addition: Addition, methods: Mapping[str, Any], view: View | None = None) -> dict[str, Any]:
    """Repeat one stored run, train and score every run of the added arm that is not finished, and return the results.

    Args:
        methods: the added arm -> the options of its method.
        view: shows progress.

    Raises:
        ValueError: a run failed, the repeated one diverged, or a run's folder holds something else.
    """
    total = 1 + _num_runs(addition.added.comparison)
    _work(addition.repeated, [addition.repeat], list(addition.repeated.comparison.tests), view, 0, total)
    repeat = compare_repeat(addition)
    if view:
        view.say(repeat_sentence(repeat))
    _make_runs(addition.added, view, before=1)
    return added_results(addition, methods, repeat)


def write_results(comparison: Comparison, results: Mapping[str, Any], folder: Path) -> None:
    """Write results.json and results.md to the folder."""
    write_json(folder / RESULTS[0], results)
    write_text(folder / RESULTS[1], results_markdown(comparison, results))


def claim_missing(study: Study, runs: Sequence[Run], tests: Sequence[str]) -> list[Run]:
    """Make the folders of the runs that are not finished, and return these runs.

    Raises:
        ValueError: a folder holds something else.
    """
    missing = [run for run in runs if not study.state(run, tests)]
    for run in missing:
        study.claim(run)
    return missing


def _make_runs(study: Study, view: View | None, *, before: int = 0) -> None:
    """Train and score every run of the grid, then every run at the chosen rates, that is not finished.

    Args:
        before: runs that the command has made before, which are counted, too.
    """
    comparison = study.comparison
    grid, total = comparison.grid(), before + _num_runs(comparison)
    _work(study, grid, ["validation"], view, before, total)
    validation = study.validation()
    if validation is None:
        raise UserError("a file that the runs read was edited while they ran: the same command goes on with it.")
    final = comparison.final(comparison.chosen(validation))
    _work(study, final, list(comparison.tests), view, before + len(grid), total)


def _num_runs(comparison: Comparison) -> int:
    return len(comparison.grid()) + len(comparison.arms) * len(comparison.seeds)


def _work(study: Study, runs: Sequence[Run], tests: Sequence[str], view: View | None, before: int, total: int) -> None:
    """Train and score the runs that are not finished; `before` runs of `total` were finished before these."""
    comparison = study.comparison
    missing = claim_missing(study, runs, tests)
    if not missing:
        return
    finished = before + len(runs) - len(missing)
    if view and finished:
        view.say(f"{finished} of {total} runs are finished.")
    gpus = visible_gpus()
    jobs = [_job(study, run, tests, f"{number} of {total}") for number, run in enumerate(missing, finished + 1)]
    try:
        run_jobs(jobs, parallel=comparison.parallel, threads=comparison.threads, gpus=gpus, view=view)
    except JobsFailed as error:
        raise UserError(f"{error}; finished runs are kept, and the same command tries the others again.") from None


def _job(study: Study, run: Run, tests: Sequence[str], number: str) -> Job:
    folder, comparison = study.folder(run), study.comparison
    key = study.key(run)
    keys_of_scores = {test: scores_key(key, comparison, test) for test in tests}
    work = {"options": study.options(run), "key": key, "tests": keys_of_scores}
    budget, total = comparison.budget
    if not comparison.is_trained(run.arm):
        total = 1
    metric, progress_name = COUNTED[budget]
    policy = folder / "policy"
    return Job(
        text=f"{number}: {run.name}",
        name=run.name,
        module="echorl.lab.compare.worker",
        arguments=(str(folder), json.dumps(work)),
        log=folder / "log",
        total=total,
        done=lambda: int(last_value(policy / "metrics.jsonl", metric) or 0),
        resumed=total if study.training(run) else _reached(policy, progress_name),
        note=lambda: _note(folder),
    )


def _reached(policy: Path, name: str) -> int:
    """Return how far the checkpoint is that the training will go on from; 0 without one."""
    complete = filter(is_complete, checkpoints(policy))
    return next((progress(checkpoint)[name] for checkpoint in complete), 0)


def _note(folder: Path) -> str:
    """Return the mean reward of a run's last step that was logged, such as "reward 0.61"; then "scoring"."""
    if (read_json(folder / MARK) or {}).get("value"):
        return "scoring"
    reward = last_value(folder / "policy" / "metrics.jsonl", "reward")
    return "" if reward is None else f"reward {reward:.2f}"
