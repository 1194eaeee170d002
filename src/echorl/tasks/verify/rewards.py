"""Graders as TRL reward functions: `math`, `choice`, `number`, `geometry`, `reasoning_gym`; more by `make_reward`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from echorl.tasks.base import Log, Verifier, make_verifier, reference_text
from echorl.tasks.verify.base import Grader, Verdict
from echorl.tasks.verify.choice import ChoiceGrader
from echorl.tasks.verify.geometry import GeometryGrader
from echorl.tasks.verify.gym import ReasoningGymGrader
from echorl.tasks.verify.mathematics import MathGrader
from echorl.tasks.verify.number import NumberGrader

TIMEOUTS = "verifier/timeouts"
"""The share of the graded completions whose call took too long."""
FAILURES = "verifier/failures"
"""The share of the graded completions that were not compared for another reason: memory, a dead worker, an error."""


def make_reward(grader: Grader, *, column: str = "answer", name: str = "") -> Verifier:
    """A TRL reward function that scores completions against the reference answers in `column`.

    Its name is `name`, or the grader's where that is empty. Rows where the column is None belong to another task: their
    reward is None. A reference answer that the grader cannot use is a ValueError that names the column and the row.
    `TIMEOUTS` and `FAILURES` are logged.
    """

    def judge(rows: list[tuple[str, str]]) -> list[Verdict]:
        return grader.grade([text for text, _ in rows], [reference for _, reference in rows])

    return make_reward_of_verdicts(name or grader.name, column, judge, read_reference=grader.read_reference)


def make_reward_of_verdicts(
    name: str,
    column: str,
    judge: Callable[[list[tuple[str, str]]], Sequence[Verdict | None]],
    *,
    read_reference: Callable[[Any], str] = reference_text,
) -> Verifier:
    """A TRL reward function whose rewards are the scores of `judge`'s verdicts, with the checks of `make_verifier`.

    It logs `TIMEOUTS` and `FAILURES` where TRL passes `log_metric`.
    """

    def score(rows: list[tuple[str, str]], log_metric: Log | None) -> list[float | None]:
        verdicts = judge(rows)
        for verdict in verdicts:
            if verdict is not None and log_metric is not None:
                _log(verdict, log_metric)
        return [None if verdict is None else verdict.score for verdict in verdicts]

    return make_verifier(name, column, score, read_reference=read_reference)


def _log(verdict: Verdict, log_metric: Log) -> None:
    """Log a verdict on its own, since TRL averages the values over functions, batches and ranks."""
    failed = verdict.reason in ("memory", "died", "tampered") or verdict.reason.startswith("error ")
    log_metric(TIMEOUTS, float(verdict.reason == "timeout"))
    log_metric(FAILURES, float(failed))


math = make_reward(MathGrader())
choice = make_reward(ChoiceGrader())
number = make_reward(NumberGrader())
geometry = make_reward(GeometryGrader())
reasoning_gym = make_reward(ReasoningGymGrader(), column="instance")
