"""One run of a comparison: its options, its folder, and the keys of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import echorl
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.plan_checks import RESULTS
from echorl.models.fingerprint import hash_files, hash_model
from echorl.support.files import read_json, write_json
from echorl.support.folder import ResultFolder

MARK = "run.json"
"""File that makes a folder a run's, with the settings of the run and, after the training, its cost."""

WITHOUT_EFFECT = frozenset({
    "output_dir", "resume_from_checkpoint", "overwrite_output_dir", "run_name", "project", "disable_tqdm",
    "report_to", "log_level", "log_level_replica", "log_on_each_node", "logging_dir", "logging_strategy",
    "logging_steps", "logging_first_step", "logging_nan_inf_filter", "log_completions", "log_multimodal",
    "log_unique_prompts", "log_completions_hub_repo", "num_completions_to_print", "include_num_input_tokens_seen",
    "skip_memory_metrics", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "save_strategy",
    "save_steps", "save_total_limit", "save_on_each_node", "enable_jit_checkpoint", "push_to_hub", "hub_token",
    "hub_model_id", "hub_strategy", "hub_private_repo", "hub_always_push", "hub_revision", "echo_rollouts_every",
})  # fmt: skip
"""Options that only log or save, and so leave the policy as it is."""


def run_options(comparison: Comparison, recipe: Mapping[str, Any], run: Run, folder: Path) -> dict[str, Any]:
    """Return the options of `echorl train` for this run: the recipe's, the arm's, and those of the comparison."""
    rate = {} if run.rate is None else {"learning_rate": run.rate}
    name, budget = comparison.budget
    return {
        **recipe,
        **comparison.arms[run.arm],
        **rate,
        "seed": run.seed,
        **({"max_rollout_tokens": budget} if name == "rollout_tokens" else {}),
        # of rollout tokens never reached, since a step samples more than one
        "max_steps": budget if comparison.is_trained(run.arm) else 0,
        "output_dir": str(folder / "policy"),
        "resume_from_checkpoint": "true",
    }


def run_key(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that must be equal for a finished run to be used again.

    A rule of the user's is its class and its file's name and content; the path of the file can be written otherwise.
    """
    rule = {"method": Path(options["method"]).name} if ":" in str(options.get("method")) else {}
    return {
        "version": echorl.__version__,
        "model": hash_model(str(options.get("model_name_or_path"))),
        "files": hash_files(options),
        "options": with_effect({**options, **rule}),
    }


def kept_key(mark: Mapping[str, Any] | None, key: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the key; for a finished run that differs from it in echorl's version alone, the key in the run's mark.

    So later versions give the tables of a stored study, too.
    """
    stored = (mark or {}).get("key") or {}
    is_finished = mark is not None and mark.get("value")
    return stored if is_finished and {**stored, "version": key["version"]} == key else key


def with_effect(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the policy may depend on."""
    return {name: value for name, value in options.items() if name not in WITHOUT_EFFECT}


class RunFolder(ResultFolder):
    """Folder of a run, with its settings and its result in one file, `MARK`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "compare", holds="a run", mark=MARK)

    def settings(self) -> dict[str, Any] | None:
        record = super().settings()
        return None if record is None else record.get("key") or {}

    def record(self, settings: Mapping[str, Any]) -> None:
        write_json(self.path / MARK, {"key": settings, "value": None})


def check_study(folder: Path, names: Sequence[str] = RESULTS) -> None:
    """Check that files of these names, which will be replaced, were written by a comparison.

    Raises:
        ValueError: such a file exists, and neither a run nor results of a comparison.
    """
    if any(folder.glob(f"*/rate-*/seed-*/{MARK}")) or "learning_rates" in (read_json(folder / RESULTS[0]) or {}):
        return
    if foreign := [name for name in names if (folder / name).exists()]:
        raise ValueError(f"{folder} holds {foreign[0]}, which no comparison wrote: give another output_dir.")


def scores_path(folder: Path, test: str) -> Path:
    return folder / f"scores-{test}.json"


def pass_at_1(scores: Mapping[str, Any]) -> float:
    """Return the mean share of right completions over the prompts of a result of `Policy.score`."""
    return fmean(right / scores["samples"] for right in scores["right"])


def scores_key(key: Mapping[str, Any], comparison: Comparison, test: str) -> dict[str, Any]:
    """Return everything that must be equal for scores to be used again; the run's key as a hash, to save space."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    options = {"task_options": comparison.task_options_of(test)}
    files = hash_files(options)
    scores = {"split": comparison.split_of(test), **options, **({"files": files} if files else {})}
    return {"run": digest, **scores, **comparison.size_of(test)}
