"""reasoning-gym: an instance's own scorer, in a worker process unless it only compares the answer with the gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from echorl.support.installed import check_installed
from echorl.tasks.base import final_answer
from echorl.tasks.verify.base import TOO_LONG, AnswerGrader, Verdict, Written
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.process import Outcome
from echorl.tasks.verify.worker_gym import (
    MAX_ANSWER_CHARS,
    decode,
    encode,
    is_checked,
    reasoning_gym_score,
    runs_in_process,
)


@dataclass(frozen=True)
class ReasoningGymGrader(AnswerGrader):
    """The score that the instance's dataset gives; the gold is the task's column `instance`.

    The answer is what follows the last `####`, else the last `<answer>...</answer>`, else the last non-empty line. A
    scorer that raises, or gives None or a number outside 0 to 1, counts as 0.0. No answer is evaluated as code.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the dataset for instances that don't hold theirs; few scorers look at them."""
    timeout: float = 5.0
    """Seconds of CPU time for one call of a scorer that does more than compare the answer with the gold."""
    trust_scorers: bool = False
    """Whether scorers that are not on the list of safe ones run as they are, on whatever the policy writes."""
    pool: Pool = field(default_factory=lambda: shared_pool("reasoning_gym"), repr=False, compare=False)

    name: ClassVar[str] = "reasoning_gym"

    def read(self, text: str) -> str:
        return final_answer(text)

    def judge(self, answer: str, gold: str) -> Verdict | None:
        if len(answer) > MAX_ANSWER_CHARS:
            return Verdict(0.0, TOO_LONG)
        call = self._call(answer, gold)
        check_scorer(call[0], trust_scorers=self.trust_scorers)
        return _outcome_here(call).verdict(_as_score) if runs_in_process(call[0]) else None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        rows = [(*self._call(answer, gold), self.trust_scorers) for answer, gold in pairs]
        outcomes = self.pool.call_each("reasoning_gym_score", rows, timeout=self.timeout)
        return [outcome.verdict(_as_score) for outcome in outcomes]

    def write(self, gold: str) -> list[Written]:
        answer = decode(gold)["answer"]
        return [Written(f"#### {answer}", answer)]

    def _call(self, answer: str, gold: str) -> tuple[str, str, str, str]:
        instance = decode(gold)
        config = instance.get("config", dict(self.config))
        return instance["generator"], encode(config), answer, gold


def _outcome_here(call: tuple[str, str, str, str]) -> Outcome:
    try:
        return Outcome(reasoning_gym_score(*call))
    except Exception as error:  # hostile input: whatever a scorer raises on it is a failure to score
        return Outcome(None, f"error {type(error).__name__}")


def _as_score(value: Any) -> float:
    """The score; 0.0 for None, NaN and what is no share of 1."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 0.0


def check_scorer(generator: str, *, trust_scorers: bool) -> None:
    """Raise a ValueError if the dataset's scorer is not on the list of safe ones and the user does not trust it."""
    check_installed("grading", ("reasoning_gym",), "tasks")
    if not trust_scorers and not is_checked(generator):
        raise ValueError(
            f"the scorer of reasoning-gym's {generator!r} is not on the list of safe ones; choose another dataset, "
            f"or set trust_scorers: true to run it on whatever the policy writes"
        )
