"""Packing of a study, and a study that is read from its pack without a recipe or a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.compare.pack import Files, Pack, pack_path, read_pack
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.run import MARK, scores_path
from echorl.lab.compare.study import Study

MACHINE_OPTIONS = ("output_dir", "parallel", "threads")
"""Options of a comparison that change no number; a pack does not hold them."""


@dataclass(frozen=True)
class PackedStudy(Study):
    """Study whose runs are used as its pack records them, also if echorl's options have changed since."""

    @property
    def path(self) -> Path:
        """The pack's file."""
        return self._pack.path

    @property
    def methods(self) -> Mapping[str, Mapping[str, Any]]:
        """Arm -> the options of its method, as `Pack` has them."""
        return self._pack.methods

    @property
    def _pack(self) -> Pack:
        assert self.pack is not None, "made by open_pack"
        return self.pack

    def training(self, run: Run) -> Any:
        return (self.file(run, MARK) or {}).get("value")

    def scores(self, run: Run, split: str) -> Any:
        return (self.file(run, scores_path(Path(), split).name) or {}).get("value")

    def file(self, run: Run, name: str) -> Mapping[str, Any] | None:
        return self._pack.runs.get(run.name, {}).get(name)


def open_pack(path: Path) -> PackedStudy:
    """Return the study in a pack.

    Raises:
        ValueError: there is no such file, it is damaged, or its plan is that of another version of echorl.
    """
    pack = read_pack(path)
    fields = {option.name for option in dataclasses.fields(Comparison)} - set(MACHINE_OPTIONS)
    if unknown := [name for name in pack.plan if name not in fields]:
        raise ValueError(
            f"{path} has a plan with {unknown[0]!r}, which this version of echorl does not know: install the version "
            "that wrote it."
        )
    try:
        comparison = Comparison.from_lists({**pack.plan, "output_dir": str(path)})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has a plan that is not allowed: {error}") from None
    return PackedStudy(comparison, recipe={}, pack=pack)


def pack_study(study: Study, methods: Mapping[str, Mapping[str, Any]]) -> Pack:
    """Return a pack of the study's finished runs and those of its earlier pack, if any, without writing it."""
    plan = dataclasses.asdict(study.comparison)
    for name in MACHINE_OPTIONS:
        del plan[name]
    runs = {**(study.pack.runs if study.pack is not None else {}), **_finished(study)}
    return Pack(pack_path(study.comparison.output_dir), plan, methods, runs)


def _finished(study: Study) -> dict[str, Files]:
    comparison, validation = study.comparison, study.validation()
    splits = {run: ["validation"] for run in comparison.grid()}
    if validation is not None:
        splits |= {run: list(comparison.tests) for run in comparison.final(comparison.chosen(validation))}
    return {run.name: _files(study, run, tests) for run, tests in splits.items() if study.state(run, tests)}


def _files(study: Study, run: Run, tests: list[str]) -> Files:
    names = [MARK, *(scores_path(Path(), test).name for test in tests)]
    records = {name: study.file(run, name) for name in names}
    return {name: {"key": record["key"], "value": record["value"]} for name, record in records.items() if record}
