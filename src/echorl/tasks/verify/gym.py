"""Grader of reasoning-gym: calls the dataset's own scorer, in a worker process unless the scorer is a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from echorl.support.installed import check_installed
from echorl.tasks.verify.base import TOO_LONG, Form, Grader, Verdict
from echorl.tasks.verify.pool import Pool, shared_pool
from echorl.tasks.verify.process import Outcome
from echorl.tasks.verify.reading import final_answer
from echorl.tasks.verify.worker_gym import (
    MAX_ANSWER_CHARS,
    decode,
    encode,
    is_checked,
    reasoning_gym_score,
    runs_in_process,
)


@dataclass(frozen=True)
class ReasoningGymGrader(Grader):
    """Grader of reasoning-gym. The score is that of the instance's dataset.

    The reference answer is the task's column `instance`. The answer is the text after the last `####`, else the last
    `<answer>...</answer>`, else the last non-empty line. The score is 0.0 if the scorer raises an error, or returns
    None or a number outside 0 to 1. No answer is evaluated as code.
    """

    timeout: float = 5.0
    """Seconds of CPU time for one call of a scorer that runs in a worker process."""
    trust_scorers: bool = False
    """Run scorers that are not on the list of safe ones as they are, on any text that the policy writes."""
    pool: Pool = field(default_factory=lambda: shared_pool("reasoning_gym"), repr=False, compare=False)

    name: ClassVar[str] = "reasoning_gym"

    def read(self, text: str) -> str:
        """The final answer of the completion."""
        return final_answer(text)

    def judge(self, answer: str, reference: str) -> Verdict | None:
        """Score by a scorer that is safe in this process; None for a scorer that needs a worker."""
        if len(answer) > MAX_ANSWER_CHARS:
            return Verdict(0.0, TOO_LONG)
        call = self._call(answer, reference)
        check_scorer(call[0], trust_scorers=self.trust_scorers)
        return _outcome_here(call).verdict(_as_score) if runs_in_process(call[0]) else None

    def ask(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Verdicts of the scorers in worker processes."""
        rows = [(*self._call(answer, reference), self.trust_scorers) for answer, reference in pairs]
        outcomes = self.pool.call_each("reasoning_gym_score", rows, timeout=self.timeout)
        return [outcome.verdict(_as_score) for outcome in outcomes]

    def forms(self, reference: str) -> list[Form]:
        """The instance's answer behind `####`."""
        answer = decode(reference)["answer"]
        return [Form(f"#### {answer}", answer)]

    def _call(self, answer: str, reference: str) -> tuple[str, str, str, str]:
        instance = decode(reference)
        return instance["generator"], encode(instance.get("config", {})), answer, reference


def _outcome_here(call: tuple[str, str, str, str]) -> Outcome:
    try:
        return Outcome(reasoning_gym_score(*call))
    except Exception as error:  # hostile input can make a scorer raise anything
        return Outcome(None, f"error {type(error).__name__}")


def _as_score(value: Any) -> float:
    """The score; 0.0 for None, NaN and anything outside 0 to 1."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else 0.0


def check_scorer(generator: str, *, trust_scorers: bool) -> None:
    """Raise a ValueError if the dataset's scorer is not on the list of safe ones and the user does not trust it."""
    check_installed("grading", ("reasoning_gym",), "tasks")
    if not trust_scorers and not is_checked(generator):
        raise ValueError(
            f"the scorer of reasoning-gym's {generator!r} is not on the list of safe ones; choose another dataset, "
            f"or set trust_scorers: true to run it on any text that the policy writes"
        )
