"""Rows of an added arm in the tables of a stored study, and how exactly this machine repeats a stored run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
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
    "the stored runs of {reference}.{differs}{outcome}"
)
DIVERGED = (
    " Of its {seeds} seeds {number} diverged (numbers that are not finite: {names}), so the arm has no mean and no row "
    "in the tables of the tests."
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


def added_results(addition: Addition, methods: Mapping[str, Any], repeat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of the stored study with the rows of the added arm, or without, if one of its runs diverged.

    The stored rows do not change. The added arm has a family of its own, one comparison a row.

    Args:
        methods: the added arm -> the options of its method.
        repeat: the result of `compare_repeat`.

    Raises:
        ValueError: a run of the added arm is missing, or the arm diverged at every learning rate.
    """
    stored, study, arm = addition.stored, addition.added, addition.arm
    results = make_results(stored, stored.methods)
    validation = study.finished_grid()
    rates = study.comparison.chosen(validation)
    diverged = [run.name for run, state in study.final_states(rates).items() if state == "diverged"]
    for test, measures in ({} if diverged else _pairs(addition, rates[arm])).items():
        for measure in measures.keys() & results["tests"][test].keys():
            other_machine = NOT_COMPARED if measure == "minutes" else {}
            results["tests"][test][measure][arm] = {**measures[measure][arm], **other_machine}
    results["learning_rates"] = {**results["learning_rates"], **rates}
    results["validation"] = {**results["validation"], **{run.name: value for run, value in validation.items()}}
    results["methods"] = {**results["methods"], **methods}
    results["diverged"] = [*results["diverged"], *diverged]
    if not diverged:
        notes = stored.comparison.notes
        text = " ".join(filter(None, [notes.get("note"), FAMILY.format(arm=arm)]))
        results["notes"] = {**notes, "note": text}
    sentences = [_added_sentence(addition, diverged), repeat_sentence(repeat)]
    results["added"] = {"arm": arm, "repeat": repeat, "sentences": sentences}
    return results


def _added_sentence(addition: Addition, diverged: Sequence[str]) -> str:
    """Return what was added, and which of its runs diverged, if any."""
    arm, reference = addition.arm, addition.repeat.arm
    seeds, stored = len(addition.added.comparison.seeds), len(addition.stored.comparison.seeds)
    options = addition.added.comparison.arms[arm]
    settings = "".join(f", {name} {value!r}" for name, value in options.get("method_options", {}).items())
    differing = settings_that_differ(options["method"], options.get("method_options"))
    named = ", ".join(f"{name}={value!r}" for name, value in differing.items())
    return ADDED.format(
        arm=arm,
        method=options["method"],
        options=settings,
        seeds=seeds,
        stored=stored,
        reference=reference,
        differs=DIFFERS.format(named, reference) if named else "",
        outcome=DIVERGED.format(seeds=seeds, number=len(diverged), names=", ".join(diverged)) if diverged else "",
    )


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
