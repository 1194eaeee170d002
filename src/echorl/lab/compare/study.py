"""A comparison with its recipe: the folder, options and results of each run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.compare.pack import Pack
from echorl.lab.compare.plan import Comparison, Run, Validation
from echorl.lab.compare.run import MARK, RunFolder, kept_key, pass_at_1, run_key, run_options, scores_key, scores_path
from echorl.support.files import read_json, replacing_folder, write_json
from echorl.support.folder import check_equal


@dataclass(frozen=True)
class Study:
    """The planned runs and their results; a run is in its folder, or else in the study's pack."""

    comparison: Comparison
    recipe: Mapping[str, Any]
    pack: Pack | None = None

    def folder(self, run: Run) -> Path:
        return Path(self.comparison.output_dir) / run.name

    def options(self, run: Run) -> dict[str, Any]:
        return run_options(self.comparison, self.recipe, run, self.folder(run))

    def key(self, run: Run) -> Mapping[str, Any]:
        return kept_key(self.file(run, MARK), run_key(self.options(run)))

    def file(self, run: Run, name: str) -> Mapping[str, Any] | None:
        """Return the object in one of the run's JSON files; None where there is no such file."""
        folder = self.folder(run)
        if self.pack is not None and not (folder / MARK).exists():
            return self.pack.runs.get(run.name, {}).get(name)
        return read_json(folder / name)

    def _value(self, run: Run, name: str, key: Mapping[str, Any]) -> Any:
        record = self.file(run, name)
        return record.get("value") if record is not None and record.get("key") == key else None

    def claim(self, run: Run) -> None:
        """Make the run's folder, with its files from the pack, so that the run can go on.

        Raises:
            ValueError: the folder holds something else, or the folder or the pack the run with other settings.
        """
        folder, key, mark = self.folder(run), self.key(run), self.file(run, MARK)
        if self.pack is not None and mark is not None and not folder.exists():
            check_equal(f"{self.pack.path} holds the run {run.name}", mark.get("key") or {}, key)
            with replacing_folder(folder) as scratch:
                for name, record in self.pack.runs[run.name].items():
                    write_json(scratch / name, record)
        RunFolder(folder).claim(key)

    def training(self, run: Run) -> Any:
        """Return the cost of the training; None if it is still to be done."""
        return self._value(run, MARK, self.key(run))

    def scores(self, run: Run, split: str) -> Any:
        """Return the result of `Policy.score`; None if it is still to be done."""
        return self._value(run, scores_path(Path(), split).name, scores_key(self.key(run), self.comparison, split))

    def state(self, run: Run, splits: Sequence[str]) -> str:
        """Return "done", "diverged", or "" where the training or a score is missing."""
        training = self.training(run)
        if training is None:
            return ""
        if training["diverged"]:
            return "diverged"
        return "done" if all(self.scores(run, split) for split in splits) else ""

    def validation(self) -> Validation | None:
        """Return the grid's scores; None while one of its runs is missing."""
        states = {run: self.state(run, ["validation"]) for run in self.comparison.grid()}
        if "" in states.values():
            return None
        return {
            run: None if state == "diverged" else pass_at_1(self.scores(run, "validation"))
            for run, state in states.items()
        }

    def finished_grid(self) -> Validation:
        """Return the grid's scores.

        Raises:
            ValueError: a run is missing.
        """
        validation = self.validation()
        if validation is None:
            raise ValueError(
                f"{self.comparison.output_dir}: runs of the grid are missing: `echorl compare STUDY.yaml` makes them."
            )
        return validation

    def final_states(self, rates: Mapping[str, float | None]) -> dict[Run, str]:
        """Return "done" or "diverged" for each run that is compared.

        Raises:
            ValueError: a run is missing.
        """
        comparison = self.comparison
        states = {run: self.state(run, list(comparison.tests)) for run in comparison.final(rates)}
        if missing := [run.name for run, state in states.items() if not state]:
            number = len(self.finished_seeds(rates))
            raise ValueError(
                f"{comparison.output_dir}: {len(missing)} of {len(states)} runs are missing ({missing[0]}): "
                "`echorl compare STUDY.yaml` makes them"
                + (f", and --num_seeds {number} shows the seeds that all arms have." if number else ".")
            )
        return states

    def finished_seeds(self, rates: Mapping[str, float | None]) -> tuple[int, ...]:
        """Return the first seeds that all arms have: those before the first one with a missing run."""
        missing = {run.seed for run in self.comparison.final(rates) if not self.state(run, list(self.comparison.tests))}
        return tuple(itertools.takewhile(lambda seed: seed not in missing, self.comparison.seeds))
