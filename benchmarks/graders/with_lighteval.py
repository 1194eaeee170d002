"""lighteval's extractive match with the metrics of its own tasks: of MATH-500, or of MMLU-Pro for letters.

It needs an environment of its own (`make graders-lighteval`): lighteval wants another latex2sympy2_extended than
math-verify does.
"""

from __future__ import annotations

from lighteval.metrics.metrics import Metrics
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

LETTERS = "ABCDEFGHIJ"
MATHEMATICS = Metrics.pass_at_k_math(sample_params={"k": 1, "n": 1})
CHOICES = Metrics.gpqa_instruct_metric.value


def score(answer: str, gold: str) -> float:
    response = ModelResponse(text=[answer])
    if gold in LETTERS:
        doc = Doc(query="", choices=list(LETTERS), gold_index=LETTERS.index(gold), instruction="")
        scores = CHOICES.compute_sample(doc=doc, model_response=response)
    else:
        doc = Doc(query="", choices=[f"\\boxed{{{gold}}}"], gold_index=0)
        scores = MATHEMATICS.compute_sample(doc=doc, model_response=response)
    (value,) = scores.values()
    return float(value)
