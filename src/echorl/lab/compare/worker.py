"""One run of a comparison in a process of its own: train with `echorl train`, then score the policy.

python -m echorl.lab.compare.worker FOLDER WORK PARENT
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from echorl.lab.compare.run import MARK, RunFolder, scores_path
from echorl.lab.jobs import end_with_parent
from echorl.models.fingerprint import NO_MODEL, hash_files
from echorl.support.files import cached, last_value, read_json, stored, write_json, write_text

SAMPLER = "probability tensor contains either"
"""Part of torch's message when it draws from probabilities that are not finite."""
SECONDS_TO_END = 60
"""Longest wait for another worker of the run, which ends a second after its comparison was killed."""
WEIGHTS = (".safetensors", ".bin")
"""Endings of the files that hold a model or an adapter."""


def main() -> int:
    """Do the missing work of a run, and return the exit code of `guard`."""
    from echorl.support.errors import guard

    folder, work, parent = sys.argv[1:]
    end_with_parent(int(parent))
    return guard(lambda: _work(Path(folder), json.loads(work)))


def _work(folder: Path, work: Mapping[str, Any]) -> int:
    """Work after the worker of a killed comparison, if any, has ended."""
    with RunFolder(folder).locked(wait=SECONDS_TO_END):
        return run_and_score(folder, work)


def run_and_score(folder: Path, work: Mapping[str, Any]) -> int:
    """Train and score, and return 0; a run whose numbers are no longer finite is recorded as diverged."""
    from echorl.support.errors import one_line
    from echorl.train.recipe import environment

    training = Training(folder, work["options"])
    with environment(work["options"].get("env", {})):
        try:
            value = _train(folder, work, training)
            training.clean()
            if not value["diverged"]:
                _score(folder, work)
        except Exception as error:
            if not training.has_diverged(error):
                raise
            if (read_json(folder / MARK) or {}).get("again"):
                raise _not_repeated(folder, "diverged", "as") from error
            value = stored(folder / MARK, work["key"]) or training.summary()
            reason = f"{type(error).__name__}: {one_line(error)}"
            write_json(folder / MARK, {"key": work["key"], "value": {**value, "diverged": reason}})
            training.clean()
    return 0


def _train(folder: Path, work: Mapping[str, Any], training: Training) -> dict[str, Any]:
    """Train the run if need be, and return the cost of the training.

    A run is trained again where both scores and its policy are missing (only `run.json` and scores of a study may
    have been kept). Its record stays, and "again" in it says that a policy may be half written.
    """
    mark, key = folder / MARK, work["key"]
    before = stored(mark, key)
    if before is None:
        _check_files(work)
        return cached(mark, key, training.run)
    again = (read_json(mark) or {}).get("again") or not training.has_model()
    if again and not before["diverged"] and _missing(folder, work):
        _check_files(work)
        write_json(mark, {"key": key, "value": before, "again": True})
        _check_same(folder, before, training.run())
        write_json(mark, {"key": key, "value": before})
    return before


def _check_files(work: Mapping[str, Any]) -> None:
    """Check that the code and the data that the options name are still those of the run's key.

    Raises:
        ValueError: a file was edited after the comparison had begun.
    """
    recorded = work["key"]["files"]
    if edited := [path for path, digest in hash_files(work["options"]).items() if digest != recorded.get(path)]:
        raise ValueError(
            f"{edited[0]} was edited since the comparison began: undo the edit, or give another output_dir."
        )


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that a run that was trained again is the run before, since its stored scores are those of that policy.

    Raises:
        ValueError: it diverged, or took another number of tokens or updates.
    """
    if now["diverged"]:
        raise _not_repeated(folder, "diverged", "as")
    costs = [f"{value['rollout_tokens']} rollout tokens in {value['updates']} updates" for value in (before, now)]
    if costs[0] != costs[1]:
        raise _not_repeated(folder, f"took {costs[1]}", f"{costs[0]} as")


def _not_repeated(folder: Path, now: str, before: str) -> ValueError:
    return ValueError(
        f"{folder} was trained again, since its policy is gone, and {now}, not {before} before: other hardware or "
        "libraries give another policy, so remove that folder to train and score it anew."
    )


class Training:
    """Training of a run by a recipe in its folder; a stopped run resumes."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self.folder, self.policy, self.options = folder, folder / "policy", options
        self.trainer: Any = None

    def run(self) -> dict[str, Any]:
        """Train a run that has steps, and return the summary."""
        if not self.options["max_steps"]:
            return self.summary()
        from dataclasses import replace

        import yaml

        from echorl.train.run import TRAIN, launch

        recipe = self.folder / "recipe.yaml"
        write_text(recipe, yaml.safe_dump(dict(self.options), sort_keys=False))

        def make_trainer(*args: Any) -> Any:
            self.trainer = TRAIN.make_trainer(*args)
            return self.trainer

        options = ["--disable_tqdm", "true", "--overwrite_output_dir", "true"]  # no other run writes to the folder
        launch(replace(TRAIN, make_trainer=make_trainer), ["--config", str(recipe), *options])
        finite = self.trainer is None or _is_finite(self.trainer)  # None: an earlier session finished the training
        self.trainer = None  # its memory is needed for scoring
        return {**self.summary(), "diverged": None if finite else "weights that are not finite"}

    def summary(self) -> dict[str, Any]:
        """Return the cost of the training."""
        from echorl.train.run_folder import checkpoints, is_complete, progress

        metrics = self.policy / "metrics.jsonl"
        updates, tokens = (int(last_value(metrics, name) or 0) for name in ("step", "echo/rollout_tokens"))
        for checkpoint in filter(is_complete, checkpoints(self.policy)[:1]):  # the metrics may be behind it
            reached = progress(checkpoint)
            updates, tokens = max(updates, reached["updates"]), max(tokens, reached["rollout_tokens"])
        finished = datetime.now(UTC).isoformat(timespec="minutes")
        cost = {"updates": updates, "rollout_tokens": tokens, **_course(metrics)}
        return {**cost, "finished": finished, "diverged": None}

    def has_model(self) -> bool:
        """Return whether the folder has a trained model."""
        return any(path.suffix in WEIGHTS and path.name not in NO_MODEL for path in self.policy.glob("*"))

    def clean(self) -> None:
        """Remove the checkpoints, which only a resumed run needs."""
        for checkpoint in self.policy.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)

    def has_diverged(self, error: Exception) -> bool:
        """Return whether the error comes from numbers that are no longer finite."""
        if SAMPLER in str(error):
            return True
        try:
            return self.trainer is not None and not _is_finite(self.trainer)
        except RuntimeError:  # a GPU whose sampler has failed answers no more call
            norm = last_value(self.policy / "metrics.jsonl", "grad_norm")
            return norm is not None and not math.isfinite(norm)


def _course(metrics: Path) -> dict[str, float]:
    """Return minutes, shares of degenerate groups and of tokens outside mixed groups, and the number of updates
    without a policy gradient with the largest gradient norm in them. Empty for a run that logged nothing.
    """
    from echorl.trl.metrics_file import read_metrics

    rows = [row for row in read_metrics(metrics) if "echo/tokens/mixed" in row]
    if not rows:
        return {}
    steps, tokens = (
        [row[name] - before for before, row in zip([0, *(row[name] for row in rows)], rows, strict=False)]
        for name in ("step", "echo/rollout_tokens")
    )
    degenerate = [(n, row["grad_norm"]) for n, row in zip(steps, rows, strict=True) if row["echo/frac_degenerate"] == 1]
    return {
        "minutes": sum(n * row.get("step_time", 0.0) for n, row in zip(steps, rows, strict=True)) / 60,
        "degenerate": fmean([row["echo/frac_degenerate"] for row in rows], steps),
        "uniform_tokens": 1 - fmean([row["echo/tokens/mixed"] for row in rows], tokens),
        "without_gradient": sum(n for n, _ in degenerate),
        "norm_without_gradient": max((norm for _, norm in degenerate), default=0.0),
    }


def _is_finite(trainer: Any) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in trainer.model.parameters())


def _missing(folder: Path, work: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tests without scores, each with the key of its scores."""
    return {test: key for test, key in work["tests"].items() if not stored(scores_path(folder, test), key)}


def _score(folder: Path, work: Mapping[str, Any]) -> None:
    """Score the tests without scores."""
    from echorl.lab.compare.score import Policy
    from echorl.models import find_model
    from echorl.train.data import make_task
    from echorl.train.parsing import parse
    from echorl.train.recipe import Recipe
    from echorl.train.run import TRAIN

    missing = _missing(folder, work)
    if not missing:
        return
    options = {name: value for name, value in work["options"].items() if name != "env"}
    settings = parse(TRAIN, Recipe(options=options), [])
    training = settings.training
    start = find_model(str(options["model_name_or_path"]))[0]
    policy = Policy.load(
        folder / "policy" if options["max_steps"] else start,
        device="cpu" if training.use_cpu else str(training.device),
        max_new_tokens=training.max_completion_length,
        chat_template_kwargs=training.chat_template_kwargs,
    )
    for test, key in missing.items():
        task = make_task(settings.data, **key["task_options"])
        assert task is not None  # a comparison's recipe names one
        rows = task.dataset(key["split"], size=key["prompts"])
        names = ("samples", "temperature", "greedy", "batch_size", "share_prompts", "bf16")
        size = {name: key[name] for name in names if name in key}
        write_json(scores_path(folder, test), {"key": key, "value": policy.score(rows, task.verifier, **size)})


if __name__ == "__main__":
    raise SystemExit(main())
