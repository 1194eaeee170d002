"""reasoning-gym: an instance's own scorer, in a worker process where it isn't known to be safe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from echorl.installed import check_installed
from echorl.tasks.base import final_answer
from echorl.tasks.verify.base import TOO_LONG, AnswerGrader, Verdict, Written
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.process import Outcome
from echorl.tasks.verify.worker_gym import MAX_ANSWER_CHARS, decode, encode, reasoning_gym_score

SAFE_SCORERS = frozenset({"chain_sum", "decimal_chain_sum", "products"})
"""Datasets whose own scorer takes a bounded time on any text; the base class's plain comparison does, too."""


@dataclass(frozen=True)
class ReasoningGymGrader(AnswerGrader):
    """The score that the instance's dataset gives; the gold is the task's column `instance`.

    The answer is what follows the last `####`, else the last `<answer>...</answer>`, else the last non-empty line. A
    scorer that raises, or gives None or NaN, counts as 0.0.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the dataset for instances that don't hold theirs; few scorers look at them."""
    timeout: float = 5.0
    """Seconds of CPU time for one call of a scorer that is not known to be safe."""
    pool: Pool = field(default_factory=lambda: shared_pool("reasoning_gym"), repr=False, compare=False)

    name: ClassVar[str] = "reasoning_gym"

    def read(self, text: str) -> str:
        return final_answer(text)

    def judge(self, answer: str, gold: str) -> Verdict | None:
        if len(answer) > MAX_ANSWER_CHARS:
            return Verdict(0.0, TOO_LONG)
        call = self._call(answer, gold)
        return _outcome_here(call).verdict(_as_score) if _is_safe(call[0]) else None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        rows = [self._call(answer, gold) for answer, gold in pairs]
        outcomes = self.pool.call_each("reasoning_gym_score", rows, timeout=self.timeout)
        return [outcome.verdict(_as_score) for outcome in outcomes]

    def write(self, gold: str) -> list[Written]:
        answer = decode(gold)["answer"]
        return [Written(f"#### {answer}", answer)]

    def _call(self, answer: str, gold: str) -> tuple[str, str, str, str]:
        instance = decode(gold)
        config = instance.get("config", dict(self.config))
        return instance["generator"], encode(config), answer, gold


def _outcome_here(call: tuple[str, ...]) -> Outcome:
    try:
        return Outcome(reasoning_gym_score(*call))
    except Exception as error:  # hostile input: whatever a scorer raises on it is a failure to score
        return Outcome(None, f"error {type(error).__name__}")


def _as_score(value: Any) -> float:
    return 0.0 if value is None or math.isnan(value) else float(value)


def _is_safe(generator: str) -> bool:
    check_installed("grading", ("reasoning_gym",), "tasks")
    from reasoning_gym.dataset import ProceduralDataset
    from reasoning_gym.factory import DATASETS

    return generator in SAFE_SCORERS or DATASETS[generator][0].score_answer is ProceduralDataset.score_answer
