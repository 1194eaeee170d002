"""Evaluation: sample completions, judge them, and say what follows, with intervals. Importing this is cheap."""

from echorl.evaluate.behaviour import behaviour
from echorl.evaluate.metrics import (
    Estimate,
    item_majority,
    item_pass_at_k,
    mean_of_items,
    mean_of_runs,
    paired_average,
    paired_difference,
    paired_runs,
    pass_at_1,
    pass_at_k,
    standard_error,
)
from echorl.evaluate.sampling import Completions, ends_of, judge, sample

__all__ = [
    "Completions",
    "Estimate",
    "behaviour",
    "ends_of",
    "item_majority",
    "item_pass_at_k",
    "judge",
    "mean_of_items",
    "mean_of_runs",
    "paired_average",
    "paired_difference",
    "paired_runs",
    "pass_at_1",
    "pass_at_k",
    "sample",
    "standard_error",
]
