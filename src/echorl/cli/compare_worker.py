"""One run of a comparison in a process of its own: train with `echorl train`, then score the policy.

python -m echorl.cli.compare_worker FOLDER WORK PARENT
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.compare.run import MARK, scores_path
from echorl.processes import end_with_parent
from echorl.stored import cached, last_value


def main() -> int:
    """Do what is not done yet. Returns the exit code of `guard`."""
    from echorl.cli.errors import guard

    folder, work, parent = sys.argv[1:]
    end_with_parent(int(parent))
    return guard(lambda: _work(Path(folder), json.loads(work)))


def _work(folder: Path, work: Mapping[str, Any]) -> int:
    cached(folder / MARK, work["key"], lambda: _train(folder, work["options"]))
    missing = [split for split, key in work["score_keys"].items()]
    policy = None
    for split in missing:
        policy = _score(folder, work, split, policy)
    return 0


def _train(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Train by a recipe that is left in the folder; it resumes if it was stopped."""
    import yaml

    from echorl.cli.train import run

    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(dict(options), sort_keys=False), encoding="utf-8")
    started = time.monotonic()
    run(["--config", str(recipe), "--disable_tqdm", "true"])
    policy = folder / "policy"
    for checkpoint in policy.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    metrics = policy / "metrics.jsonl"
    return {
        "updates": int(last_value(metrics, "step") or 0),
        "rollout_tokens": int(last_value(metrics, "echo/rollout_tokens") or 0),
        "seconds": time.monotonic() - started,
    }


def _score(folder: Path, work: Mapping[str, Any], split: str, policy: Any) -> Any:
    """Score one split unless that is done; the policy is loaded when it is first needed, and returned."""
    from echorl.cli.data import make_task
    from echorl.cli.parsing import parse
    from echorl.cli.recipe import Recipe
    from echorl.cli.train import train_command
    from echorl.compare.score import load_policy, score_split

    options = {name: value for name, value in work["options"].items() if name != "env"}
    settings = parse(train_command(), Recipe(options=options), [])

    def score() -> dict[str, Any]:
        nonlocal policy
        task = make_task(settings.own)
        device = "cpu" if settings.training.use_cpu else str(settings.training.device)
        policy = policy or load_policy(folder / "policy", device=device)
        return score_split(
            policy,
            task.dataset(split, size=work["prompts"]),
            task.verifier,
            samples=work["samples"],
            temperature=work["temperature"],
            max_new_tokens=settings.training.max_completion_length,
        )

    cached(scores_path(folder, split), work["score_keys"][split], score)
    return policy


if __name__ == "__main__":
    raise SystemExit(main())
