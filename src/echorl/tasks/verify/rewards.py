"""Graders as TRL reward functions: `math`, `choice`, `number`, `geometry`, `reasoning_gym`; more by `make_reward`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from echorl.tasks.base import Completion, Verifier, gold_text, make_verifier
from echorl.tasks.verify.base import AnswerGrader, Grader, Verdict
from echorl.tasks.verify.choice import ChoiceGrader
from echorl.tasks.verify.geometry import GeometryGrader
from echorl.tasks.verify.gym import ReasoningGymGrader
from echorl.tasks.verify.mathematics import MathGrader
from echorl.tasks.verify.number import NumberGrader

TIMEOUTS = "verifier/timeouts"
"""The share of the graded completions whose call took too long."""
FAILURES = "verifier/failures"
"""The share of them that were not compared for another reason: no memory, a worker that died, an error."""


def make_reward(grader: Grader, *, column: str = "answer", name: str = "") -> Verifier:
    """A TRL reward function, by the grader's name or another: the scores against the gold answers in `column`.

    Rows where the column is None belong to another task: their reward is None. A gold that the grader refuses is a
    ValueError that names the column and the row. `TIMEOUTS` and `FAILURES` are logged.
    """

    def judge(rows: list[tuple[str, str]]) -> list[Verdict]:
        return grader.grade([text for text, _ in rows], [gold for _, gold in rows])

    read_gold = grader.gold if isinstance(grader, AnswerGrader) else gold_text
    return make_reward_of_verdicts(name or grader.name, column, judge, read_gold=read_gold)


def make_reward_of_verdicts(
    name: str,
    column: str,
    judge: Callable[[list[tuple[str, str]]], Sequence[Verdict | None]],
    *,
    read_gold: Callable[[Any], str] = gold_text,
) -> Verifier:
    """As `make_verifier`, of a function that gives verdicts; logs `TIMEOUTS` and `FAILURES` where TRL lets it."""

    def verifier(
        *, completions: Sequence[Completion], log_metric: Callable[[str, float], None] | None = None, **columns: Any
    ) -> list[float | None]:
        verdicts: list[Verdict | None] = []

        def score(rows: list[tuple[str, str]]) -> list[float | None]:
            verdicts.extend(judge(rows))
            return [None if verdict is None else verdict.score for verdict in verdicts]

        rewards = make_verifier(name, column, score, read_gold=read_gold)(completions=completions, **columns)
        if log_metric is not None:
            _log(verdicts, log_metric)
        return rewards

    verifier.__name__ = verifier.__qualname__ = name
    return verifier


def _log(verdicts: Iterable[Verdict | None], log_metric: Callable[[str, float], None]) -> None:
    """One value for each verdict: TRL averages them over functions, batches and ranks, however the rows are spread."""
    for verdict in verdicts:
        if verdict is not None:
            failed = verdict.reason in ("memory", "died", "tampered") or verdict.reason.startswith("error ")
            log_metric(TIMEOUTS, float(verdict.reason == "timeout"))
            log_metric(FAILURES, float(failed))


math = make_reward(MathGrader())
choice = make_reward(ChoiceGrader())
number = make_reward(NumberGrader())
geometry = make_reward(GeometryGrader())
reasoning_gym = make_reward(ReasoningGymGrader(), column="instance")
