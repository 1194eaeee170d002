"""Readers of the folders that `echorl report` can draw, by kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from echorl.lab.checked import peek, read_object
from echorl.lab.compare.pack import ENDING, is_pack
from echorl.lab.report.page import Section
from echorl.lab.report.training import CONFIG, METRICS, TrainingRun, read_run

ANALYSES = ("entropy.json", "deletion.json")
"""Files of `echorl analyze`."""

COMPLETIONS = "completions"
"""Folder of TRL's `log_completions`."""
TRL_FILES = (COMPLETIONS, "trainer_state.json")
"""Files of a run of TRL's own trainer."""


@dataclass(frozen=True, kw_only=True)
class Source(Section):
    """The contents of one RUN: its section, and training runs, whose curves are drawn with those of other RUNs.

    Attributes:
        name: title of a page on this RUN alone; empty for the folder's name.
        title: empty for a RUN without a section of its own.
        clips: file of mined clips, if any.
        notes: sentences on files that could not be read.
    """

    folder: Path
    name: str = ""
    runs: Sequence[TrainingRun] = ()
    clips: Path | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of folder: the file that marks it, in words; a test of a folder for this kind; and its reader."""

    text: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Source]


def read_sources(places: Sequence[Path]) -> list[Source]:
    """Read every RUN once, by whatever paths it is named, without runs of a comparison that is named, too.

    Raises:
        ValueError: as `read_source`.
    """
    folders: dict[Path, Path] = {}
    for place in places:
        folder = place.parent if place.is_file() and not is_pack(place) else place
        folders.setdefault(folder.resolve(), folder)
    sources = [read_source(folder) for folder in folders.values()]
    runs = [{run.folder.resolve() for run in source.runs} for source in sources]
    return [source for source, part in zip(sources, runs, strict=True) if not part or not any(part < a for a in runs)]


def read_source(folder: Path) -> Source:
    """Read a RUN of any kind.

    Raises:
        ValueError: the folder does not exist, is of no kind, or holds nothing to show yet.
    """
    if is_pack(folder):
        return _reader("compared", "read_packed")(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; give one that an echorl command wrote.")
    if kind := _kind_of(folder):
        return kind.read(folder)
    for name in ("probe.json", "audit.json", *ANALYSES, "results.json"):
        read_object(folder / name)  # raises where a damaged file is the reason
    if any((folder / name).exists() for name in TRL_FILES):
        raise ValueError(
            f"{folder} is a run of TRL's own trainer, without metrics.jsonl: `echorl audit {folder}` reads its "
            "completions."
        )
    if inside := [str(each) for each in sorted(folder.iterdir()) if each.is_dir() and _kind_of(each)]:
        raise ValueError(f"{folder} is a folder of others: name one or several of them, such as {inside[0]}.")
    marks = "; ".join(kind.text for kind in KINDS)
    raise ValueError(f"{folder.resolve()} is not the folder of an echorl command: it has no {marks}.")


def _kind_of(folder: Path) -> Kind | None:
    return next((kind for kind in KINDS if kind.fits(folder)), None)


def name_of(folder: Path) -> str:
    """Return the name of a folder (also of ".") or of a packed study, without the ending."""
    return Path(os.path.abspath(folder)).name.removesuffix(ENDING)


def _json_of(command: str, *names: str) -> Callable[[Path], bool]:
    """Return a test whether a folder has one of the files, in which this command is named."""
    return lambda folder: any(str(peek(folder / name).get("echorl")).startswith(command) for name in names)


def _has(name: str) -> Callable[[Path], bool]:
    """Return a test whether the folder's results.json holds this."""
    return lambda folder: peek(folder / "results.json").get(name) is not None


def _is_comparison(folder: Path) -> bool:
    return any(folder.glob("*/rate-*/seed-*/run.json")) or _has("learning_rates")(folder)  # whose runs are all packed


def _read_run(folder: Path) -> Source:
    run, notes = read_run(folder)
    if (folder / COMPLETIONS).is_dir() and not run.rollouts.is_dir():
        notes.append(
            f"{folder} has no rollouts/ for a gallery: `echo_rollouts_every` keeps them; `echorl audit {folder}` reads "
            "the completions."
        )
    return Source(folder=folder, runs=[run], notes=notes)


def _reader(module: str, name: str) -> Callable[[Path], Source]:
    """Return a reader whose module is imported when it is called."""
    return lambda folder: getattr(import_module(f"echorl.lab.report.{module}"), name)(folder)


KINDS = (
    Kind("probe.json (probe)", _json_of("probe", "probe.json"), _reader("probed", "read_probe")),
    Kind("entropy.json or deletion.json (analyze)", _json_of("analyze", *ANALYSES), _reader("probed", "read_analyses")),
    Kind("audit.json (audit)", _json_of("audit", "audit.json"), _reader("audited", "read_audit")),
    Kind("summary.json (mine)", lambda folder: (folder / "summary.json").is_file(), _reader("results", "read_mined")),
    Kind("results.json (eval)", _has("benchmarks"), _reader("results", "read_evaluation")),
    Kind("ARM/rate-*/seed-*/run.json (compare)", _is_comparison, _reader("compared", "read_comparison")),
    Kind(
        "run.json (one run of compare)", lambda folder: (folder / "run.json").is_file(), _reader("compared", "read_one")
    ),
    Kind(
        "metrics.jsonl (train)",
        lambda folder: any((folder / name).exists() for name in (METRICS, CONFIG)),
        _read_run,
    ),
)
"""In the order in which they are tried."""
