"""A comparison with its recipe read: from a run to its folder, options and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.compare.plan import Comparison, Run, Validation
from echorl.compare.run import kept_key, run_key, run_options, scores_key, scores_path, training_of
from echorl.stored import stored


@dataclass(frozen=True)
class Study:
    """What is planned, and what of it is done."""

    comparison: Comparison
    recipe: Mapping[str, Any]

    def folder(self, run: Run) -> Path:
        return Path(self.comparison.output_dir) / run.name

    def options(self, run: Run) -> dict[str, Any]:
        return run_options(self.comparison, self.recipe, run, self.folder(run))

    def key(self, run: Run) -> Mapping[str, Any]:
        return kept_key(self.folder(run), run_key(self.options(run)))

    def training(self, run: Run) -> Any:
        """What the training took; None if it is still to be done."""
        return training_of(self.folder(run), self.key(run))

    def scores(self, run: Run, split: str) -> Any:
        """What `Policy.score` gave; None if it is still to be done."""
        return stored(scores_path(self.folder(run), split), scores_key(self.key(run), self.comparison, split))

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
        from echorl.compare.score import verdicts_of
        from echorl.evaluate import pass_at_1

        return pass_at_1(verdicts_of(self.scores(run, "validation"))).value

    def results(self, runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
        """Run -> {"training": ..., split: scores, ...} of finished runs."""
        tests = self.comparison.tests
        return {
            run: {"training": self.training(run), **{split: self.scores(run, split) for split in tests}} for run in runs
        }
