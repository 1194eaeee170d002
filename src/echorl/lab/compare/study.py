"""A comparison with its recipe read: from a run to its folder, options and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.compare.pack import Pack
from echorl.lab.compare.plan import Comparison, Run, Validation
from echorl.lab.compare.run import MARK, RunFolder, kept_key, run_key, run_options, scores_key, scores_path
from echorl.support.files import read_json, replacing_folder, write_json
from echorl.support.folder import check_equal


@dataclass(frozen=True)
class Study:
    """The planned runs and their results; a run is in its folder, or else in the pack, if there is one."""

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
        """The object in one of the run's JSON files; None where there is none."""
        folder = self.folder(run)
        if self.pack is not None and not (folder / MARK).exists():
            return self.pack.runs.get(run.name, {}).get(name)
        return read_json(folder / name)

    def _value(self, run: Run, name: str, key: Mapping[str, Any]) -> Any:
        kept = self.file(run, name)
        return kept.get("value") if kept is not None and kept.get("key") == key else None

    def claim(self, run: Run) -> None:
        """Make the run's folder, with what is packed of the run, so that it can be gone on with.

        Raises:
            ValueError: the folder or the pack holds something else, or the run with other settings.
        """
        folder, key, mark = self.folder(run), self.key(run), self.file(run, MARK)
        if self.pack is not None and mark is not None and not folder.exists():
            check_equal(f"{self.pack.path} holds the run {run.name}", mark.get("key") or {}, key)
            with replacing_folder(folder) as scratch:
                for name, kept in self.pack.runs[run.name].items():
                    write_json(scratch / name, kept)
        RunFolder(folder).claim(key)

    def training(self, run: Run) -> Any:
        """Return the cost of the training; None if it is still to be done."""
        return self._value(run, MARK, self.key(run))

    def scores(self, run: Run, split: str) -> Any:
        """Return the result of `Policy.score`; None if it is still to be done."""
        return self._value(run, scores_path(Path(), split).name, scores_key(self.key(run), self.comparison, split))

    def state(self, run: Run, splits: Sequence[str]) -> str:
        """ "done", "diverged", or "" where something is missing."""
        training = self.training(run)
        if training is None:
            return ""
        if training["diverged"]:
            return "diverged"
        return "done" if all(self.scores(run, split) for split in splits) else ""

    def validation(self) -> Validation | None:
        """The grid's scores; None while a run of it is missing."""
        states = {run: self.state(run, ["validation"]) for run in self.comparison.grid()}
        if "" in states.values():
            return None
        return {run: None if state == "diverged" else self._pass_at_1(run) for run, state in states.items()}

    def _pass_at_1(self, run: Run) -> float:
        from echorl.lab.compare.score import verdicts_of
        from echorl.lab.evaluate import pass_at_1

        return pass_at_1(verdicts_of(self.scores(run, "validation"))).value

    def results(self, runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
        """Run -> {"training": ..., split: scores, ...} of finished runs."""
        tests = self.comparison.tests
        return {
            run: {"training": self.training(run), **{split: self.scores(run, split) for split in tests}} for run in runs
        }
