"""Readers of the folders that `echorl report` can draw, by kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from echorl.lab.checked import peek, read_object
from echorl.lab.compare.pack import ENDING, is_pack
from echorl.lab.report.charts import Drawn
from echorl.lab.report.page import Table
from echorl.lab.report.training import CONFIG, METRICS, TrainingRun, read_run

ANALYSES = ("entropy.json", "deletion.json")
"""What `echorl analyze` writes."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The contents of one RUN: training runs, whose curves are drawn with other RUNs', and its tables and charts.

    `name` is what a page on this RUN alone is called; empty for the folder's name.
    """

    folder: Path
    name: str = ""
    runs: Sequence[TrainingRun] = ()
    title: str = ""
    lead: Sequence[str] = ()
    findings: Sequence[str] = ()
    charts: Sequence[Drawn] = ()
    tables: Sequence[Table] = ()
    clips: Path | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of folder: what tells it, in words, whether a folder is of it, and how it is read."""

    text: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Source]


def read_sources(places: Sequence[Path]) -> list[Source]:
    """Every RUN once, by whatever paths it is named; a run of a comparison that is named, too, only as its part.

    Raises:
        ValueError: as `read_source`.
    """
    folders: dict[Path, Path] = {}
    for place in places:
        folder = place.parent if place.is_file() and not is_pack(place) else place
        folders.setdefault(folder.resolve(), folder)
    sources = [read_source(folder) for folder in folders.values()]
    runs = [{run.folder.resolve() for run in source.runs} for source in sources]
    whole = [not own or not any(own < others for others in runs) for own in runs]
    return [source for source, is_whole in zip(sources, whole, strict=True) if is_whole]


def read_source(folder: Path) -> Source:
    """A RUN's folder, of whatever kind it is.

    Raises:
        ValueError: there is no such folder, it is of no kind, or it holds nothing to show yet.
    """
    if is_pack(folder):
        return _reader("packed", "read_packed")(folder)
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; give one that an echorl command wrote.")
    for kind in KINDS:
        if kind.fits(folder):
            return kind.read(folder)
    for name in ("probe.json", *ANALYSES, "results.json"):
        read_object(folder / name)  # raises where that is why nothing fits
    wanted = "; ".join(kind.text for kind in KINDS)
    raise ValueError(f"{folder} is none of what a report is made of: it has no {wanted}.")


def name_of(folder: Path) -> str:
    """The name of a folder (of "." too) or of a packed study, without the ending."""
    return Path(os.path.abspath(folder)).name.removesuffix(ENDING)


def _json_of(command: str, *names: str) -> Callable[[Path], bool]:
    """Return whether one of the files is there and says of itself that this command wrote it."""
    return lambda folder: any(str(peek(folder / name).get("echorl")).startswith(command) for name in names)


def _has(name: str) -> Callable[[Path], bool]:
    """Return whether results.json holds this, as a function of the folder."""
    return lambda folder: peek(folder / "results.json").get(name) is not None


def _is_comparison(folder: Path) -> bool:
    return any(folder.glob("*/rate-*/seed-*/run.json")) or _has("learning_rates")(folder)  # whose runs are all packed


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (METRICS, CONFIG))


def _read_run(folder: Path) -> Source:
    run, notes = read_run(folder)
    return Source(folder=folder, runs=[run], notes=notes)


def _reader(module: str, name: str) -> Callable[[Path], Source]:
    """A reader whose module is imported when it is called."""
    return lambda folder: getattr(import_module(f"echorl.lab.report.{module}"), name)(folder)


KINDS = (
    Kind("probe.json (probe)", _json_of("probe", "probe.json"), _reader("probed", "read_probe")),
    Kind(
        "entropy.json or deletion.json (analyze)",
        _json_of("analyze", *ANALYSES),
        _reader("probed", "read_analyses"),
    ),
    Kind("summary.json (mine)", lambda folder: (folder / "summary.json").is_file(), _reader("results", "read_mined")),
    Kind("results.json (eval)", _has("benchmarks"), _reader("results", "read_evaluation")),
    Kind("ARM/rate-*/seed-*/run.json (compare)", _is_comparison, _reader("compared", "read_comparison")),
    Kind(
        "run.json (one run of compare)", lambda folder: (folder / "run.json").is_file(), _reader("compared", "read_one")
    ),
    Kind("metrics.jsonl (train)", _is_run, _read_run),
)
"""In the order in which they are tried."""
