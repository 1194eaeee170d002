"""Evaluation: sample completions, judge them, and say what follows, with intervals. Importing this is cheap."""

from echorl.lab.evaluate.behaviour import behaviour
from echorl.lab.evaluate.metrics import (
    Estimate,
    holm,
    item_majority,
    item_pass_at_k,
    mean_of_items,
    mean_of_runs,
    p_of_runs,
    paired_average,
    paired_difference,
    paired_runs,
    pass_at_1,
    pass_at_k,
    standard_error,
)
from echorl.lab.evaluate.model import evaluate_model
from echorl.lab.evaluate.sampling import Completions, ends_of, judge, sample
from echorl.lab.options import Sampling

__all__ = [
    "Completions",
    "Estimate",
    "Sampling",
    "behaviour",
    "ends_of",
    "evaluate_model",
    "holm",
    "item_majority",
    "item_pass_at_k",
    "judge",
    "mean_of_items",
    "mean_of_runs",
    "p_of_runs",
    "paired_average",
    "paired_difference",
    "paired_runs",
    "pass_at_1",
    "pass_at_k",
    "sample",
    "standard_error",
]
