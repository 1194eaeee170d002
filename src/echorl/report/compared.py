"""`echorl compare` in a report: its runs as arms, paired differences, and how far an unfinished study has come."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echorl.report.charts import Intervals
from echorl.report.page import Table
from echorl.report.predicted import read_points
from echorl.report.sources import Source, name_of
from echorl.report.training import METRICS, TrainingRun, read_metrics
from echorl.report.verdicts import PASS, advice_table, parts_of, verdict_table
from echorl.stored import read_json

UNFINISHED = (
    "There is no results.json yet: the tables come with the last run; where all are done, `echorl compare STUDY.yaml` "
    "makes it in seconds."
)


def read_comparison(folder: Path) -> Source:
    """The runs (of a finished comparison those that are compared, else all), the tables, and the differences drawn.

    Raises:
        ValueError: no run has logged anything yet.
    """
    marks = sorted(folder.glob("*/rate-*/seed-*/run.json"))
    results = read_json(folder / "results.json")
    names = [mark.parent.relative_to(folder).as_posix() for mark in marks]
    runs, notes = _runs(folder, [name for name in names if results is None or _is_final(name, results)])
    if not runs and results is None and not any((read_json(mark) or {}).get("value") for mark in marks):
        raise ValueError(f"{folder} has no run with a line of metrics: wait for the first log.")
    done = [] if results is None else [*_tables(results), *_grid(results["validation"])]
    return Source(
        folder=folder,
        title=f"Comparison: {name_of(folder)}",
        lead=[UNFINISHED] if results is None else _further(names, results),
        runs=runs if results is None else [replace(run, arm=run.arm.partition(",")[0]) for run in runs],
        tables=done or [_progress(folder, names)],
        charts=[] if results is None else _charts(results),
        points=[] if results is None else read_points(folder, name_of(folder), results),
        notes=notes,
    )


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


def _further(names: Sequence[str], results: Mapping[str, Any]) -> list[str]:
    """A sentence on runs of seeds that the tables are not of."""
    known = {f"seed-{seed}" for seed in results.get("seeds", [])}
    others = sum(1 for name in names if name not in results["validation"] and name.rpartition("/")[2] not in known)
    if not known or not others:
        return []
    return [f"Seeds in the tables: {len(known)}. Runs of further seeds that are there and not shown: {others}."]


def _is_final(name: str, results: Mapping[str, Any]) -> bool:
    """Whether a run is one of those compared: at its arm's chosen rate, of a seed that the tables are of."""
    arm, rate, seed = name.rsplit("/", 2)
    if seed not in [f"seed-{number}" for number in results.get("seeds", [seed.removeprefix("seed-")])]:
        return False
    chosen = results["learning_rates"].get(arm)
    return name not in results["validation"] and rate == (f"rate-{chosen:g}" if chosen else "rate-of-recipe")


def _runs(folder: Path, names: Sequence[str]) -> tuple[list[TrainingRun], list[str]]:
    from echorl.compare.run import with_effect

    runs, notes, waiting = [], [], 0
    for name in names:
        place = folder / name / "policy"
        try:
            rows, own = read_metrics(place / METRICS)
        except ValueError:  # it has not begun
            waiting += 1
            continue
        arm, rate, _ = name.rsplit("/", 2)
        options = (read_json(folder / name / "run.json") or {}).get("key", {}).get("options", {})
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
    """What the arms bring, and a table a test: a row a measure and arm."""
    from echorl.compare.table import HEAD, table_rows

    note = "Differences are paired by seed, with Student's interval; the bootstrap draws seeds and prompts."
    summary = verdict_table(results)
    return [
        *([summary, advice_table()] if summary else []),
        *(
            Table(f"Results: {split}", HEAD, table_rows(results["learning_rates"], measures), note)
            for split, measures in results["tests"].items()
        ),
    ]


def _grid(validation: Mapping[str, float | None]) -> list[Table]:
    rows = [[name, "diverged" if value is None else f"{value:.1%}"] for name, value in validation.items()]
    return [Table("Learning-rate grid", ["run", "pass@1, validation"], rows)] if rows else []


def _charts(results: Mapping[str, Any]) -> list[Intervals]:
    """pass@1's paired differences, a chart an average (or a test, where there is none), if there are several seeds."""
    charts = []
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


def _progress(folder: Path, names: Sequence[str]) -> Table:
    """Every run that there is so far, and what its policy scored."""
    from echorl.compare.score import verdicts_of
    from echorl.evaluate import pass_at_1

    splits = sorted({path.stem.removeprefix("scores-") for path in folder.glob("*/rate-*/seed-*/scores-*.json")})
    rows = []
    for name in names:
        trained = (read_json(folder / name / "run.json") or {}).get("value") or {}
        cells = [f"{trained[key]:,}" if key in trained else "" for key in ("updates", "rollout_tokens")]
        for split in splits:
            found = (read_json(folder / name / f"scores-{split}.json") or {}).get("value")
            cells.append(f"{pass_at_1(verdicts_of(found)).value:.1%}" if found else "")
        rows.append([name, *cells])
    return Table("Runs so far", ["run", "updates", "rollout tokens", *(f"pass@1, {split}" for split in splits)], rows)
