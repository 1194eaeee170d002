"""Training runs in a report: their metrics and options, and the runs that differ in the seed alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, check
from echorl.support.texts import parse_json, parse_yaml

METRICS, CONFIG = "metrics.jsonl", "config.yaml"
DEFAULTS = "# Every other option had its default:\n"
"""The line of a config.yaml after which the defaults stand as comments."""
MOST_DIFFERENCES = 3
"""Options that a label can name; runs that differ in more are named by their folders."""


@dataclass(frozen=True)
class TrainingRun:
    """A run.

    Attributes:
        folder: folder of metrics.jsonl and, if rollouts were dumped, rollouts/*.parquet.
        rows: the logged lines, in order.
        options: options with an effect on the policy; empty where they are not known.
        arm: name of the arm in a comparison; else empty, and the label follows from the options.
    """

    folder: Path
    rows: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    arm: str = ""

    @property
    def seed(self) -> str:
        return str(self.options.get("seed", self.rows[0].get("seed", "?")))

    @property
    def rollouts(self) -> Path:
        return self.folder / "rollouts"


@dataclass(frozen=True)
class Arm:
    """Runs that differ in the seed alone, under one label."""

    label: str
    runs: Sequence[TrainingRun]


def read_run(folder: Path) -> tuple[TrainingRun, list[str]]:
    """Return a run of `echorl train`, and notes on damaged files.

    Raises:
        ValueError: nothing is logged yet.
    """
    rows, notes = read_metrics(folder / METRICS)
    options, more = _options(folder / CONFIG)
    return TrainingRun(folder, rows, options), [*notes, *more]


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the lines of a metrics file, and a note on damaged ones; a run may be writing the last line.

    Raises:
        ValueError: the file does not exist, or has no line.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}: nothing is logged yet, or it is no run's folder.")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another folder.") from None
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        try:
            row = parse_json(line)
            check(row, {"step": int})
            rows.append(row)
        except ValueError:
            damaged += [number] if line.strip() else []
    if not rows:
        raise ValueError(f"{path} holds no line of metrics: wait for the run's first log, or give another folder.")
    if not damaged:
        return rows, []
    if damaged == [len(lines)]:  # it has no end of a line
        return rows, [f"{path}: the last line is half written and was left out; the run may be going on."]
    places = f"line {damaged[0]} is" if len(damaged) == 1 else f"{len(damaged)} lines (the first: {damaged[0]}) are"
    return rows, [f"{path}: {places} damaged and left out."]


def _options(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return a run's options from its config.yaml, with the defaults in its comments, and a note if it is damaged."""
    from echorl.lab.compare.run import with_effect

    try:
        text = path.read_text(encoding="utf-8")
        defaults = parse_yaml("\n".join(line[2:] for line in text.partition(DEFAULTS)[2].splitlines())) or {}
        changes = parse_yaml(text)
        for part in (defaults, changes):
            check(part, Each(object))
        options = with_effect({**defaults, **changes})
        json.dumps(options, sort_keys=True, default=str)  # runs are compared as JSON
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, TypeError):  # TypeError: names of several types inside a value
        return {}, [f"{path} is damaged, or another program wrote it; the run is named by its folder."]
    return options, []


def group_by_seed(runs: Sequence[TrainingRun]) -> list[Arm]:
    """Return arms of runs that differ in the seed alone; a run whose options are not known has an arm of its own."""
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(_without_seed(run), []).append(run)
    arms = list(groups.values())
    labels = [_label(arm, [group[0] for group in arms]) for arm in arms]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({place_of(arm[0])})" for label, arm in zip(labels, arms, strict=True)]
    return [Arm(label, arm) for label, arm in zip(labels, arms, strict=True)]


def _without_seed(run: TrainingRun) -> str:
    """Return a text that is the same for runs of an arm."""
    if not run.options:
        return str(run.folder)
    options = {name: value for name, value in run.options.items() if name != "seed"}
    return json.dumps([run.arm, options], sort_keys=True, default=str)


def _label(runs: Sequence[TrainingRun], firsts: Sequence[TrainingRun]) -> str:
    """Return the arm's name, or the folder of a single run and the options in which the arms' first runs differ."""
    run = runs[0]
    if run.arm:
        return run.arm
    names = sorted({name for first in firsts for name in first.options} - {"seed"})
    different = [name for name in names if len({json.dumps(r.options.get(name), default=str) for r in firsts}) > 1]
    if not run.options or not 0 < len(different) <= MOST_DIFFERENCES:
        return place_of(run)
    options = ", ".join(f"{name} {run.options.get(name, 'default')}" for name in different)
    return options if len(runs) > 1 else f"{place_of(run)} ({options})"


def place_of(run: TrainingRun) -> str:
    """Return the last two parts of the path of a run's folder."""
    folder = Path(os.path.abspath(run.folder))
    return f"{folder.parent.name}/{folder.name}" if folder.parent.name else folder.name
