"""Rows of an added arm in the tables of a stored study, and how exactly this machine repeats a stored run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from echorl.lab.compare import table
from echorl.lab.compare.add import Addition, settings_that_differ
from echorl.lab.compare.plan import Run
from echorl.lab.compare.results import make_results
from echorl.lab.compare.run import pass_at_1
from echorl.lab.compare.study import Study

ADDED = (
    "The stored study gets one more arm, {arm} (method {method}{options}), with {seeds} of {stored} seeds, paired with "
    "the stored runs of {reference}.{differs}"
)
DIFFERS = " Beside its rule it sets {}, unlike {}."
FAMILY = (
    "{arm} was added later: its p-values are a family of their own, of one comparison a column, and exploratory, "
    "unless whoever added it wrote down the arm and its primary test before its runs."
)
IDENTICAL = "This machine repeats the stored run {run} to the last digit."
DIFFERENT = (
    "This machine does not repeat the stored run {run} exactly, and the pairs with stored runs hold the difference, "
    "too. In points of pass@1 it is {differences}."
)

NOT_COMPARED = {"reference": None, "difference": None, "p": None, "holm": None}


def added_results(addition: Addition, added: Mapping[str, Any], repeat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of the stored study with the rows of the added arm.

    The stored rows do not change. The added arm has a family of its own, one comparison a row.

    Args:
        added: the results of the added arm alone.
        repeat: the result of `compare_repeat`.
    """
    stored, arm, run = addition.stored, addition.arm, addition.repeat
    results = make_results(stored, stored.methods)
    seeds = addition.added.comparison.seeds
    for test, measures in _pairs(addition, added["learning_rates"][arm]).items():
        for measure in measures.keys() & results["tests"][test].keys():
            other_machine = NOT_COMPARED if measure == "minutes" else {}
            results["tests"][test][measure][arm] = {**measures[measure][arm], **other_machine}
    for name in ("learning_rates", "validation", "methods"):
        results[name] = {**results[name], **added[name]}
    options = addition.added.comparison.arms[arm]
    settings = ", ".join(f"{name} {value!r}" for name, value in options.get("method_options", {}).items())
    words = {"arm": arm, "method": options["method"], "options": settings and f", {settings}"}
    words |= {"seeds": len(seeds), "stored": len(stored.comparison.seeds), "reference": run.arm}
    differing = settings_that_differ(options["method"], options.get("method_options"))
    named = ", ".join(f"{name}={value!r}" for name, value in differing.items())
    words["differs"] = DIFFERS.format(named, run.arm) if named else ""
    notes = stored.comparison.notes
    results["notes"] = {**notes, "note": " ".join(filter(None, [notes.get("note"), FAMILY.format(**words)]))}
    results["added"] = {"arm": arm, "repeat": repeat, "sentences": [ADDED.format(**words), repeat_sentence(repeat)]}
    return results


def _pairs(addition: Addition, rate: float | None) -> dict[str, Any]:
    """Return the rows of the reference and of the added arm, on the added arm's seeds."""
    reference, arm = addition.repeat, addition.arm
    comparison = replace(addition.comparison, seeds=addition.added.comparison.seeds)
    runs: dict[Run, Study] = {replace(reference, seed=seed): addition.stored for seed in comparison.seeds}
    runs |= {Run(arm, rate, seed): addition.added for seed in comparison.seeds}
    results = {
        run: {"training": study.training(run), **{test: study.scores(run, test) for test in comparison.tests}}
        for run, study in runs.items()
    }
    return table.compare(comparison, {reference.arm: reference.rate, arm: rate}, results)


def compare_repeat(addition: Addition) -> dict[str, Any]:
    """Return how the repeated run differs from the stored one.

    Returns:
        {"run": its name, "identical": whether all scores and the numbers of updates and tokens are equal,
        "differences": {test or average: {"points": of pass@1, "spread": standard deviation over the stored seeds}}};
        the spread is None for one seed.

    Raises:
        ValueError: the repeated run diverged.
    """
    stored, repeated, run = addition.stored, addition.repeated, addition.repeat
    comparison = stored.comparison
    if repeated.state(run, list(comparison.tests)) != "done":
        raise ValueError(
            f"the stored run {run.name} diverged when it was repeated here: this machine cannot add an arm."
        )
    costs = [
        {name: study.training(run)[name] for name in ("updates", "rollout_tokens")} for study in (stored, repeated)
    ]
    identical = costs[0] == costs[1] and all(
        stored.scores(run, test) == repeated.scores(run, test) for test in comparison.tests
    )
    parts = dict(comparison.averages) or {test: (test,) for test in comparison.tests}
    differences = {}
    for part, tests in parts.items():
        values = [_points(stored, replace(run, seed=seed), tests) for seed in comparison.seeds]
        differences[part] = {
            "points": _points(repeated, run, tests) - _points(stored, run, tests),
            "spread": statistics.stdev(values) if len(values) > 1 else None,
        }
    return {"run": run.name, "identical": identical, "differences": differences}


def _points(study: Study, run: Run, tests: tuple[str, ...]) -> float:
    """Return pass@1 in percent, the mean over tests."""
    return 100 * fmean(pass_at_1(study.scores(run, test)) for test in tests)


def repeat_sentence(repeat: Mapping[str, Any]) -> str:
    """Return the result of `compare_repeat` in words."""
    if repeat["identical"]:
        return IDENTICAL.format(**repeat)
    texts = []
    for part, difference in repeat["differences"].items():
        spread = difference["spread"]
        share = f" ({abs(difference['points']) / spread:.1f} of the spread between seeds)" if spread else ""
        texts.append(f"{part} {difference['points']:+.2f}{share}")
    return DIFFERENT.format(run=repeat["run"], differences=", ".join(texts))
