"""math-verify alone, as its users call it: the gold in a box, its own extraction and time limits."""

from __future__ import annotations

from math_verify import LatexExtractionConfig, parse, verify


def score(answer: str, gold: str) -> float:
    wanted = parse(f"\\boxed{{{gold}}}", [LatexExtractionConfig()])
    return float(verify(wanted, parse(answer)))
