"""Training runs as a report sees them: what was logged and set, and which of them differ in the seed alone."""

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
"""Options that a label can name; runs that differ in more go by their folders."""


@dataclass(frozen=True)
class TrainingRun:
    """A run.

    Attributes:
        folder: that holds metrics.jsonl and, if rollouts were dumped, rollouts/*.parquet.
        rows: the logged lines, in order.
        options: what was set, without what has no effect on the policy; empty where that is not known.
        arm: its name in a comparison; else empty, and the label follows from the options.
    """

    folder: Path
    rows: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    arm: str = ""

    @property
    def seed(self) -> str:
        return str(self.options.get("seed", "?"))

    @property
    def rollouts(self) -> Path:
        return self.folder / "rollouts"


@dataclass(frozen=True)
class Arm:
    """Runs that differ in the seed alone, under one label."""

    label: str
    runs: Sequence[TrainingRun]


def read_run(folder: Path) -> tuple[TrainingRun, list[str]]:
    """A run of `echorl train`, and notes on what could not be read.

    Raises:
        ValueError: nothing is logged yet.
    """
    rows, notes = read_metrics(folder / METRICS)
    options, more = _options(folder / CONFIG)
    return TrainingRun(folder, rows, options), [*notes, *more]


def read_metrics(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines of a metrics file, and a note where some can't be read: a run may be writing the last one just now.

    Raises:
        ValueError: there is no file, or no line in it.
    """
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}: nothing is logged yet, or it is no run's folder.")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): give another folder.") from None
    rows, damaged = [], []
    for number, line in enumerate(lines, 1):
        row = _row(line)
        if row is not None:
            rows.append(row)
        elif line.strip():
            damaged.append(number)
    if not rows:
        raise ValueError(f"{path} holds no line of metrics: wait for the run's first log, or give another folder.")
    return rows, _notes(path, damaged, len(lines))


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
        check(row, {"step": int})
    except ValueError:
        return None
    return row


def _notes(path: Path, damaged: Sequence[int], num_lines: int) -> list[str]:
    if not damaged:
        return []
    if list(damaged) == [num_lines]:  # without a line's end
        return [f"{path}: the last line is half written and was left out; the run may be going on."]
    what = f"line {damaged[0]} is" if len(damaged) == 1 else f"{len(damaged)} lines (the first: {damaged[0]}) are"
    return [f"{path}: {what} damaged and left out."]


def _options(path: Path) -> tuple[dict[str, Any], list[str]]:
    """A run's options from its config.yaml, the defaults in its comments included, and a note where it is damaged."""
    from echorl.lab.compare.run import with_effect

    try:
        text = path.read_text(encoding="utf-8")
        defaults = parse_yaml("\n".join(line[2:] for line in text.partition(DEFAULTS)[2].splitlines()))
        own = parse_yaml(text)
        for part in (defaults or {}, own):
            check(part, Each(object))
        found = {**(defaults or {}), **own}
        json.dumps(found, sort_keys=True, default=str)  # what runs are told apart by
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError, TypeError):  # another program's, or damaged; the last: names that are no text
        return {}, [f"{path} is damaged, or another program's; the run goes by its folder's name."]
    return with_effect(found), []


def group_by_seed(runs: Sequence[TrainingRun]) -> list[Arm]:
    """Runs with the same arm and the same options but for the seed; those whose options aren't known stand alone."""
    groups: dict[str, list[TrainingRun]] = {}
    for run in runs:
        groups.setdefault(_same_but_for_seed(run), []).append(run)
    found = list(groups.values())
    labels = [_label(own, found) for own in found]
    if len(set(labels)) < len(labels):
        labels = [f"{label} ({_place(own[0])})" for label, own in zip(labels, found, strict=True)]
    return [Arm(label, own) for label, own in zip(labels, found, strict=True)]


def _same_but_for_seed(run: TrainingRun) -> str:
    if not run.options:
        return str(run.folder)
    options = {name: value for name, value in run.options.items() if name != "seed"}
    return json.dumps([run.arm, options], sort_keys=True, default=str)


def _label(own: Sequence[TrainingRun], groups: Sequence[Sequence[TrainingRun]]) -> str:
    """The arm's name, or the options in which the groups differ, or the folder."""
    run, rest = own[0], [other[0] for other in groups]
    if run.arm:
        return run.arm
    names = sorted({name for other in rest for name in other.options} - {"seed"})
    apart = [name for name in names if len({json.dumps(r.options.get(name), default=str) for r in rest}) > 1]
    if not run.options or not 0 < len(apart) <= MOST_DIFFERENCES:
        return _place(run)
    return ", ".join(f"{name} {run.options.get(name, 'default')}" for name in apart)


def _place(run: TrainingRun) -> str:
    folder = Path(os.path.abspath(run.folder))
    return f"{folder.parent.name}/{folder.name}" if folder.parent.name else folder.name
