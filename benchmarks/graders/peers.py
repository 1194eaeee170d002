"""Other people's graders as their users call them: `math_verify` and, in an environment of its own, `lighteval`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def math_verify(answer: str, gold: str) -> float:
    """math-verify alone, the gold in a box, its default extraction and time limits."""
    from math_verify import LatexExtractionConfig, parse, verify

    wanted = parse(f"\\boxed{{{gold}}}", [LatexExtractionConfig()])
    return float(verify(wanted, parse(answer)))


def lighteval(answer: str, gold: str) -> float:
    """lighteval's extractive match, with the metric that its own tasks take for such golds."""
    from lighteval.tasks.requests import Doc

    doc = Doc(query="", choices=[gold], gold_index=0, task_name="graders")
    if gold in LETTERS:
        doc.choices, doc.gold_index = LETTERS, LETTERS.index(gold)
        return float(_metrics()["choice"].sample_level_fn([gold], [answer], doc))
    doc.choices = [f"${gold}$" if "$" not in gold else gold]
    return float(_metrics()["math"].sample_level_fn(doc.choices, [answer], doc))


LETTERS = list("ABCDEFGHIJ")


@lru_cache(maxsize=1)
def _metrics() -> dict[str, Any]:
    return {}
