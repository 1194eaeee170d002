"""Evaluation: sample completions, judge them, and say what follows, with intervals. Importing this is cheap."""

from echorl.evaluate.metrics import Estimate, paired_difference, pass_at_1, pass_at_k
from echorl.evaluate.sampling import Completions, judge, sample

__all__ = ["Completions", "Estimate", "judge", "paired_difference", "pass_at_1", "pass_at_k", "sample"]
