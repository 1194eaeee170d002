"""The graders as reward functions of TRL and verl."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from echorl.tasks import load_task
from echorl.tasks.verify import (
    GRADERS,
    ChoiceGrader,
    NumberGrader,
    ReasoningGymGrader,
    Verdict,
    geometry_reference,
    make_reward,
)
from echorl.tasks.verify.rewards import FAILURES, TIMEOUTS
from echorl.train.data import find_function
from echorl.verl.reward import compute_score


class Reasons(ChoiceGrader):
    """A grader whose verdict is the reference answer: the reason for a 0, or "" for a 1."""

    name: ClassVar[str] = "reasons"

    def read_reference(self, value: str) -> str:
        return value

    def grade(self, texts: Sequence[str], reference_answers: Sequence[str]) -> list[Verdict]:
        return [Verdict(0.0, reason) if reason else Verdict(1.0) for reason in reference_answers]


def logged_by(reward, **columns: object) -> dict[str, list[float]]:
    """Metric -> the values that the reward function logs as TRL lets it."""
    logged: dict[str, list[float]] = {}
    reward(**columns, log_metric=lambda name, value: logged.setdefault(name, []).append(value))
    return logged


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("math", "\\boxed{42}", {"answer": ["42"]}),
        ("choice", "C", {"answer": ["C"]}),
        ("number", "#### 42", {"answer": ["42"]}),
        ("geometry", "\\boxed{A}", {"answer": [geometry_reference("A", 5.0, [5.0])]}),
        ("reasoning_gym", "4", {"instance": ['{"generator": "chain_sum", "answer": "4", "metadata": {}}']}),
    ],
)
def test_a_recipe_names_a_reward_function(name: str, text: str, columns: dict[str, list[str]]) -> None:
    reward = find_function(f"echorl.tasks.verify.rewards.{name}", "reward_funcs", home="trl.rewards")
    assert reward.__name__ == name
    assert reward(completions=[text], prompts=["?"], **columns) == [1.0]
    assert reward(completions=["no"], **columns) == [0.0]
    with pytest.raises(ValueError, match="needs the column"):
        reward(completions=[text])


@pytest.mark.parametrize(
    "reference_answer", [42, 42.0, np.int64(42), np.float32(42), Decimal(42), Fraction(84, 2), "42"]
)
@pytest.mark.parametrize(("name", "text"), [("math", "\\boxed{42}"), ("number", "#### 42")])
def test_a_reference_answer_may_be_a_number(name: str, text: str, reference_answer: object) -> None:
    reward = make_reward(GRADERS[name])
    assert reward(completions=[text, "7"], answer=[reference_answer, reference_answer]) == [1.0, 0.0]
    assert GRADERS[name].grade([text], [reference_answer])[0].score == 1.0


def test_a_choice_may_be_a_digit_and_a_broken_number_keeps_its_digits() -> None:
    assert make_reward(GRADERS["choice"])(completions=["The answer is 2."], answer=[2]) == [1.0]
    assert make_reward(GRADERS["number"])(completions=["#### 0.1"], answer=[np.float32(0.1)]) == [1.0]
    assert make_reward(GRADERS["number"])(completions=["#### 1" + "0" * 30], answer=[10**30]) == [1.0]


@pytest.mark.parametrize(
    ("name", "reference_answer", "message"),
    [
        (
            "math",
            True,
            "'True' of type bool is neither a text nor a finite number; write the reference answer as a text",
        ),
        ("number", float("nan"), "'nan' of type float is neither a text nor a finite number"),
        ("choice", ["C"], "of type list is neither a text"),
        ("geometry", {"letter": "C"}, "of type dict is neither a text"),
        ("reasoning_gym", {"answer": "4"}, "of type dict is neither a text"),
        ("number", "unknown", "'unknown' is not a single number; write one, such as '1,000'"),
        ("number", "42 or 43", "'42 or 43' is not a single number"),
        ("number", "", "'' is not a single number"),
        ("choice", "Mars", "'Mars' does not hold a single label"),
        ("geometry", "36.4", "'36.4' is not a reference answer of geometry; make one by geometry_reference"),
        ("geometry", "C", "'C' is not a reference answer of geometry"),
    ],
)
def test_a_wrong_reference_answer_is_refused_with_its_row(name: str, reference_answer: object, message: str) -> None:
    column = "instance" if name == "reasoning_gym" else "answer"
    reward = find_function(f"echorl.tasks.verify.rewards.{name}", "reward_funcs", home="trl.rewards")
    with pytest.raises(ValueError, match=rf"the verifier '{name}': column '{column}', row 1: .*{re.escape(message)}"):
        reward(completions=["x", "x"], **{column: [None, reference_answer]})
    with pytest.raises(ValueError, match=rf"the grader '{name}': reference answer 0: .*{re.escape(message)}"):
        GRADERS[name].grade(["x"], [reference_answer])


@pytest.mark.parametrize(
    ("source", "text", "reference_answer"),
    [
        ("aime", "\\boxed{\\frac{84}{2}}", "42"),
        ("math", "\\boxed{42}", "42"),
        ("arc_c", "The answer is C.", "C"),
        ("choice", "The answer is C.", "C"),
        ("openai/gsm8k", "#### 1,000", "1000"),
        ("number", "#### 1,000", "1000"),
        ("geometry", "\\boxed{5}", geometry_reference("A", 5.0, [5.0, 6.0])),
        ("gsm8k", "#### 1,000", "1000"),
    ],
)
def test_the_data_source_of_a_row_names_its_grader(source: str, text: str, reference_answer: str) -> None:
    assert compute_score(source, text, reference_answer, {"index": 0}) == {"score": 1.0, "acc": 1.0, "timeout": 0.0}
    assert compute_score(source, "\\boxed{D} #### 7", reference_answer) == {"score": 0.0, "acc": 0.0, "timeout": 0.0}


def test_a_named_grader_with_options() -> None:
    assert compute_score("mine", "\\boxed{0.5}", "\\frac12", grader="math", timeout=9.0)["score"] == 1.0
    with pytest.raises(ValueError, match="the grader 'choice' has no option 'timeout'; it has none"):
        compute_score("mine", "C", "C", grader="choice", timeout=9.0)


def test_partial_credit_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReasoningGymGrader, "grade", lambda self, texts, reference_answers: [Verdict(0.4)])
    assert compute_score("mine", "x", "{}", grader="reasoning_gym") == {"score": 0.4, "acc": 0.0, "timeout": 0.0}


def test_unknown_data_sources_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data_source='mine' is no task or grader .* reasoning_gym, .* math, choice"):
        compute_score("mine", "1", "1")


def test_time_outs_and_failures_are_logged_for_each_graded_completion() -> None:
    reference_answers = ["timeout", "", None, "memory", "died", "tampered", "error ValueError", "no answer", "too long"]
    logged = logged_by(make_reward(Reasons()), completions=["x"] * len(reference_answers), answer=reference_answers)
    assert logged == {TIMEOUTS: [1.0] + [0.0] * 7, FAILURES: [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]}
    assert logged_by(make_reward(Reasons()), completions=["x"], answer=[None]) == {}


@pytest.mark.parametrize(
    ("task", "grader", "reference_answer"),
    [("gsm8k", NumberGrader, "7"), ("reasoning_gym", ReasoningGymGrader, '{"generator": "chain_sum", "answer": "7"}')],
)
def test_time_outs_of_a_task_are_logged(
    monkeypatch: pytest.MonkeyPatch, task: str, grader: type, reference_answer: str
) -> None:
    """TRL gets a metric, verl a value beside the score."""
    monkeypatch.setattr(grader, "grade", lambda self, texts, reference_answers: [Verdict(0.0, "timeout")] * len(texts))
    logged = logged_by(
        load_task(task).verifier, completions=["x"], answer=[reference_answer], instance=[reference_answer]
    )
    assert logged == {TIMEOUTS: [1.0], FAILURES: [0.0]}
    assert compute_score(task, "x", reference_answer) == {"score": 0.0, "acc": 0.0, "timeout": 1.0}


def test_verl_gets_the_time_out_of_a_grader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumberGrader, "grade", lambda self, texts, reference_answers: [Verdict(0.0, "timeout")])
    assert compute_score("mine", "x", "7", grader="number") == {"score": 0.0, "acc": 0.0, "timeout": 1.0}


def test_a_trainer_logs_the_share_of_time_outs(tmp_path: Path) -> None:
    """Two reward functions grade one half each of the prompts; a quarter of one half are too late."""
    from tests.trl.tiny import make_dataset, run

    late = ["timeout" if n % 8 == 0 else "" if n % 2 == 0 else None for n in range(32)]
    other = ["" if n % 2 else None for n in range(32)]
    dataset = make_dataset(32).add_column("answer", late).add_column("other", other)
    functions = [make_reward(Reasons()), make_reward(Reasons(), column="other", name="others")]
    options = {"num_generations": 4, "gradient_accumulation_steps": 16, "max_steps": 1}
    options |= {"echo_success_reward_func": ["reasons", "others"]}
    trainer, *_ = run(tmp_path, functions, dataset=dataset, **options)
    log = trainer.state.log_history[0]
    assert (log[TIMEOUTS], log[FAILURES]) == (pytest.approx(1 / 8), 0.0)
