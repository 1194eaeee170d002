"""`echorl compare` in a report: its runs as arms, paired differences, and the progress of an unfinished study."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, is_drawable, read_object
from echorl.lab.compare.notes import check_notes
from echorl.lab.compare.plan import TRAINING
from echorl.lab.report.charts import Drawn, Intervals
from echorl.lab.report.limits import limits
from echorl.lab.report.page import Table
from echorl.lab.report.panels import MOST_ARMS, Accuracies
from echorl.lab.report.sources import Source, name_of
from echorl.lab.report.training import METRICS, TrainingRun, read_metrics
from echorl.lab.report.verdicts import PASS, arms_tables, findings, note_tables, num_seeds, parts_of, verdict_table

UNFINISHED = (
    "There is no results.json yet: the tables come with the last run; where all are finished, `echorl compare "
    "STUDY.yaml` makes it in seconds."
)
COMPARE = "echorl compare"
MARK = {"key?": {"options?": Each(object)}, "value?": Maybe({"updates?": int, "rollout_tokens?": int})}
"""The part of a run.json that a report reads."""
SCORES = {"value?": Maybe({"right": [int], "samples": int})}
_INTERVAL = Maybe({"value": float, "low": float, "high": float})
ROW = {
    "values": [float], "mean": float, "reference?": Maybe(str), "difference": _INTERVAL, "bootstrap": _INTERVAL,
    "holm": Maybe(float), "interval?": _INTERVAL,
}  # fmt: skip
RESULTS = {
    "learning_rates": Each(Maybe(float)),
    "validation": Each(Maybe(float)),
    "tests": Each(Each(Each(ROW))),
    "averages?": Maybe([str]),
    "seeds?": [int],
    "diverged?": [str],
    "added?": {"arm": str, "sentences": [str]},
}
"""The part of a comparison's results.json that a report reads: `tests` by test, measure and arm."""


def _read_results(folder: Path) -> dict[str, Any] | None:
    """Return a comparison's results; None where there is no file of them.

    Raises:
        ValueError: the file is damaged, or its parts have different arms or tests.
    """
    results = read_object(folder / "results.json", RESULTS, COMPARE)
    if results is not None and (problem := _disagreement(results)):
        raise ValueError(f"{folder / 'results.json'} is damaged ({problem}): run `echorl compare` again.")
    return results


def _disagreement(results: Mapping[str, Any]) -> str | None:
    """Return in words which parts of the results contradict each other; None where none do."""
    tests = results["tests"]
    arms = set(results["learning_rates"]) - {run.partition("/")[0] for run in results.get("diverged", [])}
    added = results.get("added", {}).get("arm")  # it may have the first seeds alone
    trained = arms & set(tests.get(TRAINING, {}).get("updates", arms))
    for test, measures in tests.items():
        for measure, rows in measures.items():
            expected = trained if test == TRAINING else arms
            lengths = {len(row["values"]) for arm, row in rows.items() if arm != added}
            if set(rows) != expected or len(lengths) > 1:
                return f"tests.{test}.{measure} does not have every arm that did not diverge, with as many seeds"
            if any(_reference_is_bad(rows, arm) for arm in rows):
                return f"tests.{test}.{measure} has a reference that is no other arm"
    if unknown := [name for name in results.get("averages") or [] if name not in tests]:
        return f"the average {unknown[0]} is not among the tests"
    try:
        check_notes(results.get("notes", {}), results["learning_rates"])
    except ValueError as error:
        return str(error).removesuffix(".")
    return "a test has no pass@1" if len({PASS in tests[part] for part in parts_of(results)}) > 1 else None


def _reference_is_bad(rows: Mapping[str, Any], arm: str) -> bool:
    """Return whether the chain of references from this arm is endless, or ends at an unknown arm."""
    for _ in rows:
        arm = rows[arm].get("reference")
        if arm not in rows:
            return arm is not None
    return True


def read_comparison(folder: Path) -> Source:
    """Return the compared runs of a comparison with its tables and charts; of an unfinished one all runs so far.

    Raises:
        ValueError: no run has logged anything yet.
    """
    names = sorted(mark.parent.relative_to(folder).as_posix() for mark in folder.glob("*/rate-*/seed-*/run.json"))
    results = _read_results(folder)
    if results is None:
        return _read_unfinished(folder, names)
    arms = list(results["learning_rates"])
    names.sort(key=lambda name: [*arms, name.partition("/")[0]].index(name.partition("/")[0]))
    runs, notes = _runs(folder, [name for name in names if _is_final(name, results)])
    source = of_results(folder, results)
    return replace(
        source,
        runs=[replace(run, arm=run.arm.partition(",")[0]) for run in runs],
        lead=[*source.lead, *_further_seeds(names, results)],
        notes=notes,
    )


def of_results(path: Path, results: Mapping[str, Any]) -> Source:
    """Return the tables and charts of a comparison's results, without its runs."""
    notes = results.get("notes") or {}
    return Source(
        folder=path,
        name=notes.get("title", ""),
        title=f"Comparison: {name_of(path)}",
        lead=[limits(results), *results.get("added", {}).get("sentences", []), *filter(None, [notes.get("about")])],
        findings=findings(results),
        tables=_tables(results),
        charts=_charts(results),
    )


def read_packed(path: Path) -> Source:
    """Return the tables and charts of a packed study; it has no curves, since a pack holds no metrics.

    Raises:
        ValueError: the file does not exist or is damaged, or runs of its study are missing.
    """
    from echorl.lab.compare.packed import open_pack
    from echorl.lab.compare.results import make_results

    study = open_pack(path)
    return of_results(path, make_results(study, study.methods))


def _read_unfinished(folder: Path, names: Sequence[str]) -> Source:
    """Return the runs of a comparison without results, and a table of their costs and scores."""
    runs, notes = _runs(folder, names)
    costs = {name: _mark(folder / name).get("value") or {} for name in names}
    if not runs and not any(costs.values()):
        raise ValueError(f"{folder} has no run with a line of metrics: wait for the first log.")
    splits = sorted({path.stem.removeprefix("scores-") for path in folder.glob("*/rate-*/seed-*/scores-*.json")})
    rows = []
    for name, cost in costs.items():
        scores = [_pass_at_1(folder / name / f"scores-{split}.json") for split in splits]
        rows.append(
            [name, *(f"{cost[key]:,}" if key in cost else "" for key in ("updates", "rollout_tokens")), *scores]
        )
    head = ["run", "updates", "rollout tokens", *(f"pass@1, {split}" for split in splits)]
    return Source(
        folder=folder,
        title=f"Comparison: {name_of(folder)}",
        lead=[UNFINISHED],
        runs=runs,
        tables=[Table("Runs so far", head, rows)],
        notes=notes,
    )


def _pass_at_1(path: Path) -> str:
    """Return the pass@1 in a file of scores as text; "" without any."""
    from echorl.lab.compare.run import pass_at_1

    scores = (read_object(path, SCORES, COMPARE) or {}).get("value")
    if scores is None or not scores["right"]:
        return ""
    return f"{pass_at_1(scores):.1%}" if scores["samples"] else ""


def read_one(folder: Path) -> Source:
    """Return one run of a comparison, ARM/rate-*/seed-*.

    Raises:
        ValueError: it has logged nothing yet.
    """
    place = Path(os.path.abspath(folder))
    runs, notes = _runs(place.parents[2], ["/".join(place.parts[-3:])])
    if not runs:
        raise ValueError(f"{folder} has no line of metrics: wait for the first log.")
    return Source(folder=folder, runs=runs, notes=notes)


def _mark(folder: Path) -> dict[str, Any]:
    """Return a run's run.json; {} where there is none."""
    return read_object(folder / "run.json", MARK, COMPARE) or {}


def _further_seeds(names: Sequence[str], results: Mapping[str, Any]) -> list[str]:
    """Return a sentence on runs of seeds that are not in the tables."""
    seeds = [f"seed-{seed}" for seed in results.get("seeds", [])]
    further = [name for name in names if name not in results["validation"] and name.rpartition("/")[2] not in seeds]
    if not seeds or not further:
        return []
    return [f"Seeds in the tables: {len(seeds)}. Runs of further seeds, which are not shown: {len(further)}."]


def _is_final(name: str, results: Mapping[str, Any]) -> bool:
    """Return whether a run is compared: at its arm's chosen rate, with a seed of the tables."""
    arm, rate, seed = name.rsplit("/", 2)
    if "seeds" in results and seed not in [f"seed-{number}" for number in results["seeds"]]:
        return False
    chosen = results["learning_rates"].get(arm)
    return name not in results["validation"] and rate == (f"rate-{chosen:g}" if chosen else "rate-of-recipe")


def _runs(folder: Path, names: Sequence[str]) -> tuple[list[TrainingRun], list[str]]:
    """Return the trained runs of these names that have metrics, and notes on the others."""
    from echorl.lab.compare.run import with_effect

    runs: list[TrainingRun] = []
    notes, num_waiting = [], 0
    for name in names:
        place = folder / name / "policy"
        options = _mark(folder / name).get("key", {}).get("options", {})
        if options.get("max_steps") == 0:  # the arm is not trained
            continue
        try:
            rows, damage = read_metrics(place / METRICS)
        except ValueError:  # the run has not begun
            num_waiting += 1
            continue
        arm, rate, _ = name.rsplit("/", 2)
        label = f"{arm}, rate {rate.removeprefix('rate-').replace('of-recipe', 'of the recipe')}"
        runs.append(TrainingRun(place, rows, with_effect(options), label))
        notes += damage
    if num_waiting:
        notes.append(f"{folder}: {num_waiting} of {len(names)} runs have no metrics here, so no curves.")
    return runs, notes


def _tables(results: Mapping[str, Any]) -> list[Table]:
    """Return the tables: the arms' summary, those of the notes, one for each test, and the learning-rate grid."""
    from echorl.lab.compare.table import HEAD, table_rows

    note = "Differences are paired by seed, with Student's interval; the bootstrap draws seeds and prompts."
    tables = arms_tables(results)
    tests = {} if tables else results["tests"]
    if summary := verdict_table(results):
        tables.append(summary)
    tables += note_tables(results)
    for test, measures in tests.items():
        tables.append(Table(f"Results: {test}", HEAD, table_rows(results["learning_rates"], measures), note))
    grid = results["validation"]
    rows = [[name, "diverged" if value is None else f"{value:.1%}"] for name, value in grid.items()]
    return [*tables, Table("Learning-rate grid", ["run", "pass@1, validation"], rows)] if rows else tables


def _charts(results: Mapping[str, Any]) -> list[Drawn]:
    """Return the accuracies of few arms, and with several seeds the differences of pass@1 in each test or average."""
    charts: list[Drawn] = [*_accuracies(results)]
    for part in parts_of(results):
        rows = [
            (f"{arm} − {row['reference']}" if row.get("reference") else arm, *_interval(row["difference"]))
            for arm, row in results["tests"][part].get(PASS, {}).items()
            if row["difference"] is not None
        ]
        if rows:
            charts.append(Intervals(f"pass@1, {part}", "difference in points, 95 % over seeds", rows))
    return charts


def _interval(estimate: Mapping[str, float]) -> tuple[float, float, float]:
    return estimate["value"], estimate["low"], estimate["high"]


def _accuracies(results: Mapping[str, Any]) -> list[Accuracies]:
    """Return pass@1 of every arm with its interval; [] for many arms, or where an interval is missing."""
    rows = {part: results["tests"][part].get(PASS, {}) for part in parts_of(results)}
    trained = results["tests"].get(TRAINING, {}).get("updates", {})
    values = [(row["mean"], *(row.get("interval") or {}).values()) for arms in rows.values() for row in arms.values()]
    complete = all(len(numbers) > 1 and all(map(is_drawable, numbers)) for numbers in values)
    if not values or not complete or len(trained) > MOST_ARMS:
        return []
    seeds = num_seeds(results)
    title = "Accuracy in one run of each arm" if seeds == 1 else f"Accuracy, mean of {seeds} seeds"
    note = f"95 % intervals over {'prompts' if seeds == 1 else 'seeds'}"
    tests = {part: {arm: _share(row) for arm, row in arms.items()} for part, arms in rows.items()}
    return [Accuracies(title, note, tests, {arm: look for look, arm in enumerate(trained)})]


def _share(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return a percentage's mean and interval as shares from 0 to 1."""
    _, *bounds = _interval(row["interval"])
    value, low, high = (min(100, max(0, number)) / 100 for number in (row["mean"], *bounds))
    return value, low, high
