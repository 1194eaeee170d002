"""Evaluation: completions are sampled and judged, and numbers get intervals. Importing this is cheap."""

from echorl.lab.evaluate.metrics import (
    Estimate,
    holm,
    item_majority,
    item_pass_at_k,
    mean_of_items,
    mean_of_runs,
    p_of_runs,
    paired_average,
    paired_runs,
    pass_at_1,
    standard_error,
)
from echorl.lab.evaluate.run import evaluate_model
from echorl.lab.evaluate.sampling import Completions, ends_of, judge, sample
from echorl.lab.options import Sampling

__all__ = [
    "Completions",
    "Estimate",
    "Sampling",
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
    "paired_runs",
    "pass_at_1",
    "sample",
    "standard_error",
]
