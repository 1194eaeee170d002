"""Grader by lighteval's extractive match, with the metrics of its tasks MATH-500, or MMLU-Pro for letters.

It needs a separate environment (`make graders-lighteval`), since lighteval and math-verify need different versions of
latex2sympy2_extended.
"""

from __future__ import annotations

from lighteval.metrics.metrics import Metrics
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.requests import Doc

LETTERS = "ABCDEFGHIJ"
MATHEMATICS = Metrics.pass_at_k_math(sample_params={"k": 1, "n": 1})
CHOICES = Metrics.gpqa_instruct_metric.value


def score(answer: str, reference: str) -> float:
    """Score of an answer by lighteval."""
    response = ModelResponse(text=[answer])
    if reference in LETTERS:
        doc = Doc(query="", choices=list(LETTERS), gold_index=LETTERS.index(reference), instruction="")
        scores = CHOICES.compute_sample(doc=doc, model_response=response)
    else:
        doc = Doc(query="", choices=[f"\\boxed{{{reference}}}"], gold_index=0)
        scores = MATHEMATICS.compute_sample(doc=doc, model_response=response)
    (value,) = scores.values()
    return float(value)
