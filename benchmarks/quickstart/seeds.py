"""Several quickstarts together: the difference between the arms over seeds, which one pair of runs can't tell.

    for seed in 0 1 2; do echorl quickstart --seed $seed --output_dir runs/$seed; done
    python -m benchmarks.quickstart.seeds runs/*

Prints a Markdown table: EchoRL less GRPO in percentage points, a row a run, and the mean with Student's 95 % interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echorl.lab.evaluate import mean_of_runs
from echorl.lab.quickstart.study import SPLITS
from echorl.lab.quickstart.summary import points
from echorl.support.stored import read_json

MEASURES = ("accuracy", "pass_at_k")


def read_results(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """results.json of each folder.

    Raises:
        ValueError: a folder has none, or settings other than the seed differ, or a seed is there twice.
    """
    found = [read_json(folder / "results.json") for folder in folders]
    for folder, result in zip(folders, found, strict=True):
        if result is None:
            raise ValueError(f"{folder} holds no results.json: run echorl quickstart --output_dir {folder} first.")
    results = [result for result in found if result is not None]
    seeds = [result["key"]["settings"].pop("seed") for result in results]
    if len(set(seeds)) < len(seeds) or any(result["key"] != results[0]["key"] for result in results):
        raise ValueError("the runs must have the same settings, version and policy, and each its own seed.")
    return [{**result["value"], "seed": seed} for seed, result in zip(seeds, results, strict=True)]


def differences(results: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Measure and split -> EchoRL less GRPO, one a run."""
    table: dict[str, list[float]] = {}
    for measure in MEASURES:
        for split, name in SPLITS.items():
            pairs = [(result[measure][split]["grpo"], result[measure][split]["echorl"]) for result in results]
            values = [b - a if measure == "pass_at_k" else b["value"] - a["value"] for a, b in pairs]
            label = "pass@1" if measure == "accuracy" else f"pass@{results[0]['k']}"
            table[f"{label}, {name}"] = values
    return table


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """The table."""
    table = differences(results)
    rows = [["seed", *table], ["---"] * (1 + len(table))]
    for i, result in enumerate(results):
        rows.append([str(result["seed"]), *(f"{values[i] * 100:+.1f}" for values in table.values())])
    rows.append(["mean, 95 % interval", *(points(mean_of_runs(values)) for values in table.values())])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Print the table of several runs."""
    parser = argparse.ArgumentParser(description="The difference between the quickstart's arms over several seeds.")
    parser.add_argument("folders", type=Path, nargs="+", help="output folders of echorl quickstart")
    try:
        results = read_results(parser.parse_args().folders)
    except ValueError as error:
        parser.exit(2, f"echorl: error: {error}\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
