"""Grader by math-verify alone, with the reference answer in a box and math-verify's extraction and time limits."""

from __future__ import annotations

from math_verify import LatexExtractionConfig, parse, verify


def score(answer: str, reference: str) -> float:
    """Score of an answer by math-verify."""
    right = parse(f"\\boxed{{{reference}}}", [LatexExtractionConfig()])
    return float(verify(right, parse(answer)))
