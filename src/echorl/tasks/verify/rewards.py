"""Graders as TRL reward functions: `math`, `choice`, `number`, `geometry`, `reasoning_gym`; more by `make_reward`."""

from __future__ import annotations

from echorl.tasks.base import Verifier, gold_text, make_verifier
from echorl.tasks.verify.base import AnswerGrader, Grader
from echorl.tasks.verify.choice import ChoiceGrader
from echorl.tasks.verify.geometry import GeometryGrader
from echorl.tasks.verify.gym import ReasoningGymGrader
from echorl.tasks.verify.mathematics import MathGrader
from echorl.tasks.verify.number import NumberGrader


def make_reward(grader: Grader, *, column: str = "answer", name: str = "") -> Verifier:
    """A TRL reward function, by the grader's name or another: the scores against the gold answers in `column`.

    Rows where the column is None belong to another task: their reward is None. A gold that the grader refuses is a
    ValueError that names the column and the row.
    """

    def score(rows: list[tuple[str, str]]) -> list[float | None]:
        return [verdict.score for verdict in grader.grade([text for text, _ in rows], [gold for _, gold in rows])]

    read_gold = grader.gold if isinstance(grader, AnswerGrader) else gold_text
    return make_verifier(name or grader.name, column, score, read_gold=read_gold)


math = make_reward(MathGrader())
choice = make_reward(ChoiceGrader())
number = make_reward(NumberGrader())
geometry = make_reward(GeometryGrader())
reasoning_gym = make_reward(ReasoningGymGrader(), column="instance")
