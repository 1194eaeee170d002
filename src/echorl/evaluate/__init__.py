"""Evaluation: sample completions, judge them, and say what follows, with intervals. Importing this is cheap."""

from echorl.evaluate.metrics import Estimate, mean_of_runs, paired_difference, pass_at_1, pass_at_k
from echorl.evaluate.sampling import Completions, judge, sample

__all__ = ["Completions", "Estimate", "judge", "mean_of_runs", "paired_difference", "pass_at_1", "pass_at_k", "sample"]
