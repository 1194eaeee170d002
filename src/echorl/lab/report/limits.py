"""The sentence on what a comparison can and cannot tell: the first line of its text and of its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from echorl.lab.compare.plan import TRAINING
from echorl.lab.report.verdicts import PASS, num_seeds, parts_of

NOTHING = "No arm is compared with another, so this study does not tell which one is better."
ONE_SEED = (
    "With one seed, this study tells how these policies differ on prompts like those of its tests. It tells nothing "
    "about the luck of training: another seed can reverse a difference, so none shows which method is better."
)
SEEDS = (
    "With {seeds} seeds and the spread between them, a measured difference of {measure} must be larger than {size} to "
    "be told from the luck of training. A smaller one shows neither that two arms differ nor that they are equal."
)
NO_SPREAD = (
    "With {seeds} seeds, whose differences of {measure} are all equal, this study does not tell how large the luck of "
    "training is."
)
MANY = "Of {arms} compared arms one can exceed this by luck: believe the differences with a star."
UNTUNED = "No learning rate was tuned: an arm can look worse because the rate suits the other arm."
TUNED_IN_PART = "Learning rates were tried with {arms} only, which can favour it over the other arms."


def limits(results: Mapping[str, Any]) -> str:
    """Return a short text on the differences that results.json can tell at its number of seeds, and on its rates.

    With several seeds the limit is half of the paired interval, Student's over seeds, of the first pass@k.
    """
    tables = [results["tests"][part] for part in parts_of(results)]
    measure = PASS if not tables or PASS in tables[0] else next(iter(tables[0]), PASS)
    rows = [(arm, row) for table in tables for arm, row in table.get(measure, {}).items() if row.get("reference")]
    if not rows:
        return NOTHING
    if (seeds := num_seeds(results)) < 2:
        return " ".join([ONE_SEED, *_rates(results)])
    differences = [row["difference"] for _, row in rows if row["difference"] is not None]
    text = _seeds(seeds, measure.removesuffix(", %"), differences, len({arm for arm, _ in rows}))
    return " ".join([text, *_rates(results)])


def _seeds(seeds: int, measure: str, differences: Sequence[Mapping[str, float]], arms: int) -> str:
    """Return the text on several seeds, with the smallest and the largest limit over arms and tests."""
    sizes = sorted((each["high"] - each["low"]) / 2 for each in differences)
    sizes = [size for size in sizes if 0 < size < math.inf]
    words = {"seeds": seeds, "measure": measure}
    if not sizes:
        return NO_SPREAD.format(**words)
    low, high = f"{sizes[0]:.1f}", f"{sizes[-1]:.1f}"
    size = f"{high} points" if low == high else f"{low} to {high} points (by arm and test)"
    return " ".join([SEEDS.format(**words, size=size), *([MANY.format(arms=arms)] if arms > 1 else [])])


def _rates(results: Mapping[str, Any]) -> list[str]:
    """Return a sentence where not every trained arm has tried the learning rates; [] otherwise."""
    trained = results["tests"].get(TRAINING, {}).get("updates") or results["learning_rates"]
    tuned = list(dict.fromkeys(run.partition("/")[0] for run in results["validation"]))
    if not tuned:
        return [UNTUNED]
    return [] if set(trained) <= set(tuned) else [TUNED_IN_PART.format(arms=", ".join(tuned))]
