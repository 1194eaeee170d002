"""`echorl compare` in a report: its runs as arms, paired differences, and how far an unfinished study has come."""

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
from echorl.lab.report.page import Table
from echorl.lab.report.panels import MOST_ARMS, Accuracies
from echorl.lab.report.sources import Source, name_of
from echorl.lab.report.training import METRICS, TrainingRun, read_metrics
from echorl.lab.report.verdicts import PASS, arms_tables, findings, note_tables, num_seeds, parts_of, verdict_table

UNFINISHED = (
    "There is no results.json yet: the tables come with the last run; where all are done, `echorl compare STUDY.yaml` "
    "makes it in seconds."
)


COMPARE = "echorl compare"
MARK = {"key?": {"options?": Each(object)}, "value?": Maybe({"updates?": int, "rollout_tokens?": int})}
"""What a report reads of a run.json."""
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
}
"""What a report reads of a comparison's results.json: `tests` by test, measure and arm."""


def _read_results(folder: Path) -> dict[str, Any] | None:
    """A comparison's results, None where there are none yet.

    Raises:
        ValueError: the file is damaged, or its parts name arms and tests that others lack.
    """
    results = read_object(folder / "results.json", RESULTS, COMPARE)
    if results is not None and (problem := _disagreement(results)):
        raise ValueError(f"{folder / 'results.json'} is damaged ({problem}): run `echorl compare` again.")
    return results


def _disagreement(results: Mapping[str, Any]) -> str | None:
    """Return in words which parts of the results contradict each other; None where none do."""
    tests = results["tests"]
    arms = set(results["learning_rates"]) - {run.partition("/")[0] for run in results.get("diverged", [])}
    trained = arms & set(tests.get(TRAINING, {}).get("updates", arms))
    for test, measures in tests.items():
        for measure, rows in measures.items():
            expected = trained if test == TRAINING else arms
            if set(rows) != expected or len({len(row["values"]) for row in rows.values()}) > 1:
                return f"tests.{test}.{measure} does not have every arm that did not diverge, with as many seeds"
            if any(_reference_is_bad(rows, arm) for arm in rows):
                return f"tests.{test}.{measure} has a reference that is no other arm"
    if unknown := [name for name in results.get("averages") or [] if name not in tests]:
        return f"there is no average {unknown[0]} among the tests"
    try:
        check_notes(results.get("notes", {}), results["learning_rates"])
    except ValueError as error:
        return str(error).removesuffix(".")
    parts = parts_of(results)
    return "a test has no pass@1" if len({PASS in tests[part] for part in parts}) > 1 else None


def _reference_is_bad(rows: Mapping[str, Any], arm: str) -> bool:
    """Return whether following references from this arm never ends, or ends at an unknown arm."""
    for _ in rows:
        arm = rows[arm].get("reference")
        if arm not in rows:
            return arm is not None
    return True


def read_comparison(folder: Path) -> Source:
    """The runs (of a finished comparison those that are compared, else all), the tables, and the differences drawn.

    Raises:
        ValueError: no run has logged anything yet.
    """
    marks = sorted(folder.glob("*/rate-*/seed-*/run.json"))
    results = _read_results(folder)
    notes_of_study = (results or {}).get("notes") or {}
    names = [mark.parent.relative_to(folder).as_posix() for mark in marks]
    arms = list((results or {}).get("learning_rates", {}))
    names.sort(key=lambda name: [*arms, name.partition("/")[0]].index(name.partition("/")[0]))
    runs, notes = _runs(folder, [name for name in names if results is None or _is_final(name, results)])
    if not runs and results is None and not any(_mark(mark.parent).get("value") for mark in marks):
        raise ValueError(f"{folder} has no run with a line of metrics: wait for the first log.")
    done = [] if results is None else _tables(results)
    return Source(
        folder=folder,
        name=notes_of_study.get("title", ""),
        title=f"Comparison: {name_of(folder)}",
        lead=[UNFINISHED] if results is None else [*_about(results), *_further(names, results)],
        findings=[] if results is None else findings(results),
        runs=runs if results is None else [replace(run, arm=run.arm.partition(",")[0]) for run in runs],
        tables=done or [_progress(folder, names)],
        charts=[] if results is None else _charts(results),
        notes=notes,
    )


def of_results(path: Path, results: Mapping[str, Any]) -> Source:
    """The tables and charts of a comparison's results, without its runs."""
    return Source(
        folder=path,
        name=(results.get("notes") or {}).get("title", ""),
        title=f"Comparison: {name_of(path)}",
        lead=_about(results),
        findings=findings(results),
        tables=_tables(results),
        charts=_charts(results),
    )


def _about(results: Mapping[str, Any]) -> list[str]:
    """Return the introduction that the study's notes have, if any."""
    about = (results.get("notes") or {}).get("about")
    return [] if about is None else [about]


def read_one(folder: Path) -> Source:
    """One run of a comparison, ARM/rate-*/seed-*.

    Raises:
        ValueError: it has logged nothing yet.
    """
    place = Path(os.path.abspath(folder))
    name = "/".join(place.parts[-3:])
    runs, notes = _runs(place.parents[2], [name])
    if not runs:
        raise ValueError(f"{folder} has no line of metrics: wait for the first log.")
    return Source(folder=folder, runs=runs, notes=notes)


def _mark(folder: Path) -> dict[str, Any]:
    """A run's run.json; empty where there is none."""
    return read_object(folder / "run.json", MARK, COMPARE) or {}


def _further(names: Sequence[str], results: Mapping[str, Any]) -> list[str]:
    """A sentence on runs of seeds that the tables are not of."""
    known = {f"seed-{seed}" for seed in results.get("seeds", [])}
    others = sum(1 for name in names if name not in results["validation"] and name.rpartition("/")[2] not in known)
    if not known or not others:
        return []
    return [f"Seeds in the tables: {len(known)}. Runs of further seeds that are there and not shown: {others}."]


def _is_final(name: str, results: Mapping[str, Any]) -> bool:
    """Return whether a run is one of those compared: at its arm's chosen rate, of a seed that the tables are of."""
    arm, rate, seed = name.rsplit("/", 2)
    if seed not in [f"seed-{number}" for number in results.get("seeds", [seed.removeprefix("seed-")])]:
        return False
    chosen = results["learning_rates"].get(arm)
    return name not in results["validation"] and rate == (f"rate-{chosen:g}" if chosen else "rate-of-recipe")


def _runs(folder: Path, names: Sequence[str]) -> tuple[list[TrainingRun], list[str]]:
    from echorl.lab.compare.run import with_effect

    runs, notes, waiting = [], [], 0
    for name in names:
        place = folder / name / "policy"
        options = _mark(folder / name).get("key", {}).get("options", {})
        if options.get("max_steps") == 0:  # not to be trained
            continue
        try:
            rows, own = read_metrics(place / METRICS)
        except ValueError:  # it has not begun
            waiting += 1
            continue
        arm, rate, _ = name.rsplit("/", 2)
        runs.append(
            TrainingRun(
                place,
                rows,
                with_effect(options),
                f"{arm}, rate {rate.removeprefix('rate-').replace('of-recipe', 'of the recipe')}",
            )
        )
        notes += own
    if waiting:
        notes.append(f"{folder}: {waiting} of {len(names)} runs have no metrics here, so no curves.")
    return runs, notes


def _tables(results: Mapping[str, Any]) -> list[Table]:
    """Return the tables: the arms' summary, the study's own, one for each test, and the learning-rate grid."""
    from echorl.lab.compare.table import HEAD, table_rows

    note = "Differences are paired by seed, with Student's interval; the bootstrap draws seeds and prompts."
    columns = arms_tables(results)
    return [
        *columns,
        *([summary] if (summary := verdict_table(results)) else []),
        *note_tables(results),
        *(
            Table(f"Results: {split}", HEAD, table_rows(results["learning_rates"], measures), note)
            for split, measures in ({} if columns else results["tests"]).items()
        ),
        *_grid(results["validation"]),
    ]


def _grid(validation: Mapping[str, float | None]) -> list[Table]:
    rows = [[name, "diverged" if value is None else f"{value:.1%}"] for name, value in validation.items()]
    return [Table("Learning-rate grid", ["run", "pass@1, validation"], rows)] if rows else []


def _charts(results: Mapping[str, Any]) -> list[Drawn]:
    """Return the accuracy of few arms, and with several seeds pass@1's differences, a chart a test or average."""
    charts: list[Drawn] = [*_accuracies(results)]
    for part in parts_of(results):
        rows = [
            (
                f"{arm} − {row['reference']}" if row.get("reference") else arm,
                found["value"],
                found["low"],
                found["high"],
            )
            for arm, row in results["tests"][part].get(PASS, {}).items()
            if (found := row["difference"]) is not None
        ]
        if rows:
            charts.append(Intervals(f"pass@1, {part}", "difference in points, 95 % over seeds", rows))
    return charts


def _accuracies(results: Mapping[str, Any]) -> list[Accuracies]:
    """Return pass@1 of every arm with its interval; [] for many arms, or where an interval is missing."""
    rows = {part: results["tests"][part].get(PASS, {}) for part in parts_of(results)}
    trained = results["tests"].get(TRAINING, {}).get("updates", {})
    values = [(row["mean"], *(row.get("interval") or {}).values()) for own in rows.values() for row in own.values()]
    whole = all(len(each) > 1 and all(map(is_drawable, each)) for each in values)
    if not values or not whole or len(trained) > MOST_ARMS:
        return []
    seeds = num_seeds(results)
    title = "Accuracy in one run of each arm" if seeds == 1 else f"Accuracy, mean of {seeds} seeds"
    note = f"95 % intervals over {'prompts' if seeds == 1 else 'seeds'}"
    tests = {part: {arm: _share(row) for arm, row in own.items()} for part, own in rows.items()}
    return [Accuracies(title, note, tests, {arm: look for look, arm in enumerate(trained)})]


def _share(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return a percentage's mean and interval as shares from 0 to 1."""
    value, low, high = (
        min(100, max(0, one)) / 100 for one in (row["mean"], row["interval"]["low"], row["interval"]["high"])
    )
    return value, low, high


def _pass_at_1(scores: Mapping[str, Any]) -> float:
    return sum(scores["right"]) / max(1, len(scores["right"]) * scores["samples"])


def _progress(folder: Path, names: Sequence[str]) -> Table:
    """Every run that there is so far, and what its policy scored."""
    splits = sorted({path.stem.removeprefix("scores-") for path in folder.glob("*/rate-*/seed-*/scores-*.json")})
    rows = []
    for name in names:
        trained = _mark(folder / name).get("value") or {}
        cells = [f"{trained[key]:,}" if key in trained else "" for key in ("updates", "rollout_tokens")]
        for split in splits:
            found = (read_object(folder / name / f"scores-{split}.json", SCORES, COMPARE) or {}).get("value")
            cells.append("" if found is None or not found["right"] else f"{_pass_at_1(found):.1%}")
        rows.append([name, *cells])
    return Table("Runs so far", ["run", "updates", "rollout tokens", *(f"pass@1, {split}" for split in splits)], rows)
