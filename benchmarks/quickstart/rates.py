"""The learning rate of the quickstart: plain GRPO at several rates and seeds, judged on the validation split.

    python -m benchmarks.quickstart.rates --output FOLDER [--rates 3e-5 1e-4 ...] [--seeds 0 1] [--threads 1]

Prints a Markdown table. What is finished is kept in FOLDER: run it again to go on, or to add rates and seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from echorl.lab.evaluate import pass_at_1
from echorl.lab.quickstart.study import Study
from echorl.support.files import cached

RATES = (3e-5, 1e-4, 3e-4, 1e-3)
SEEDS = (0, 1)

Table = dict[float, list[float]]
"""Learning rate -> validation pass@1 after training, one a seed."""


def run_grid(output: Path, study: Study, *, rates: Sequence[float], seeds: Sequence[int]) -> Table:
    """Train and judge each cell that is not done yet."""
    table: Table = {rate: [] for rate in rates}
    for seed in seeds:
        for rate in rates:
            accuracy = run_cell(output / f"rate-{rate:g}-seed-{seed}", replace(study, learning_rate=rate, seed=seed))
            table[rate].append(accuracy)
            print(f"rate {rate:g}, seed {seed}: {accuracy:.3f}", file=sys.stderr, flush=True)
    return table


def run_cell(folder: Path, study: Study) -> float:
    """Validation pass@1 of plain GRPO after training with these settings."""
    from echorl.lab.quickstart.arm import train_arm

    train_arm(study, 0.0, folder)
    return cached(folder / "validation.json", study.key("validation"), lambda: validate(folder / "policy", study))


def validate(policy: Path, study: Study) -> float:
    """pass@1 on the validation split."""
    from echorl.lab.quickstart.score import roll_out
    from echorl.models.loading import load_policy

    size = {"num_prompts": study.test_prompts, "group_size": study.samples_per_prompt}
    return pass_at_1(roll_out(*load_policy(policy), "validation", seed=study.seed, **size)[2]).value


def best_rate(table: Table) -> float:
    """The rate with the highest mean; of equal ones the lowest.

    >>> best_rate({1e-4: [0.5, 0.5], 1e-3: [0.9, 0.0]})
    0.0001
    """
    return max(sorted(table), key=lambda rate: statistics.fmean(table[rate]))


def markdown(table: Table, seeds: Sequence[int], *, before: float) -> str:
    """The table, a row a rate, with what the policy had before training."""
    head = ["learning rate", *(f"seed {seed}" for seed in seeds), "mean"]
    rows = [
        [f"{rate:g}", *(f"{v:.3f}" for v in values), f"{statistics.fmean(values):.3f}"]
        for rate, values in table.items()
    ]
    lines = [head, ["---"] * len(head), *rows, ["(before training)", *[""] * len(seeds), f"{before:.3f}"]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Run the grid from the command line and print its table."""
    parser = argparse.ArgumentParser(description="Find plain GRPO's best learning rate for the quickstart.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    import torch

    from echorl.models import POLICY

    torch.set_num_threads(options.threads)
    study = Study()
    before = validate(POLICY, study)
    table = run_grid(options.output, study, rates=options.rates, seeds=options.seeds)
    print(markdown(table, options.seeds, before=before))
    print(f"\nbest: {best_rate(table):g}")


if __name__ == "__main__":
    main()
