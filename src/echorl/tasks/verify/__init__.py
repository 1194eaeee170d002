"""Verifiers that are safe on hostile text: from Python (`GRADERS`), as TRL's reward functions (`make_reward`), in verl.

>>> [verdict.score for verdict in GRADERS["choice"].grade(["The answer is C.", "I think so."], ["C", "I"])]
[1.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Mapping

from echorl.tasks.verify.base import Grader, Slip, Validation, Verdict
from echorl.tasks.verify.choice import ChoiceGrader
from echorl.tasks.verify.geometry import GeometryGrader, geometry_reference
from echorl.tasks.verify.gym import ReasoningGymGrader
from echorl.tasks.verify.mathematics import MathGrader
from echorl.tasks.verify.number import NumberGrader
from echorl.tasks.verify.pool import Pool
from echorl.tasks.verify.rewards import make_reward

__all__ = [
    "GRADERS",
    "ChoiceGrader",
    "GeometryGrader",
    "Grader",
    "MathGrader",
    "NumberGrader",
    "Pool",
    "ReasoningGymGrader",
    "Slip",
    "Validation",
    "Verdict",
    "geometry_reference",
    "make_reward",
]

GRADERS: Mapping[str, Grader] = {
    grader.name: grader
    for grader in (MathGrader(), ChoiceGrader(), NumberGrader(), GeometryGrader(), ReasoningGymGrader())
}
"""Name -> a grader with default limits; `dataclasses.replace` gives one with others."""
