"""Graders as TRL's reward functions."""

from __future__ import annotations

from echorl.tasks.base import Verifier, make_verifier
from echorl.tasks.verify.base import Grader


def make_reward(grader: Grader, *, column: str = "answer", name: str = "") -> Verifier:
    """A TRL reward function, by the grader's name or another: the scores against the gold answers in `column`.

    Rows where the column is None belong to another task: their reward is None.
    """

    def score(rows: list[tuple[str, str]]) -> list[float | None]:
        return [verdict.score for verdict in grader.grade([text for text, _ in rows], [gold for _, gold in rows])]

    return make_verifier(name or grader.name, column, score)
