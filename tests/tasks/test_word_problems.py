import random
import re

import pytest

from echorl.tasks import load_task
from echorl.tasks.word_problems import make_problem, solve

SUM = re.compile(r"(\d+) ([-+x]) (\d+) = (\d+)")


@pytest.fixture(scope="module")
def task():
    return load_task("word_problems")


@pytest.mark.parametrize("split", ["train", "validation", "test", "harder"])
def test_demonstrations_verify_and_shuffled_answers_do_not(task, split: str) -> None:
    rows = task.dataset(split, size=200)
    assert task.verifier(completions=rows["demonstration"][:], answer=rows["answer"][:]) == [1.0] * 200
    wrong = [str(int(answer) + 1) for answer in rows["answer"]]
    assert task.verifier(completions=rows["demonstration"][:], answer=wrong) == [0.0] * 200


@pytest.mark.parametrize("num_operations", [1, 2, 3, 4])
def test_solutions_do_the_operations_and_every_line_is_true(num_operations: int) -> None:
    rng = random.Random(num_operations)
    for _ in range(300):
        problem = make_problem(rng, num_operations=num_operations)
        *lines, answer = solve(problem, rng).split("\n")
        assert answer == f"#### {problem.answer}"
        assert problem.answer > 0
        assert len(lines) == num_operations
        for line in lines:
            left, sign, right, result = SUM.search(line).groups()
            assert eval(f"{left}{sign.replace('x', '*')}{right}") == int(result)


def test_the_numbers_of_a_solution_are_those_of_the_question() -> None:
    rng = random.Random(0)
    for _ in range(100):
        problem = make_problem(rng, num_operations=2)
        sums = SUM.findall(solve(problem, rng))
        results = {step[3] for step in sums}
        operands = {number for step in sums for number in (step[0], step[2])}
        assert operands <= results | set(re.findall(r"\d+", problem.question))


def test_a_problem_has_several_solutions() -> None:
    problem = make_problem(random.Random(3), num_operations=4)
    assert len({solve(problem, random.Random(seed)) for seed in range(100)}) > 6


def test_splits_are_disjoint_and_the_same_every_time(task) -> None:
    parts = {split: set(task.dataset(split, size=500)["question"]) for split in ("train", "validation", "test")}
    assert not (parts["train"] & parts["validation"])
    assert not (parts["train"] & parts["test"])
    assert len(parts["test"]) == 500
    assert task.dataset("test", size=20)[:] == task.dataset("test", size=500).select(range(20))[:]


def test_prompts_are_chat_messages_unless_told_otherwise(task) -> None:
    row = task.dataset("train", size=1)[0]
    assert row["prompt"][0]["role"] == "user"
    assert row["question"] in row["prompt"][0]["content"]
    plain = load_task("word_problems", chat=False).dataset("train", size=1)[0]
    assert plain["prompt"] == row["prompt"][0]["content"]


@pytest.mark.parametrize("text", ["", "####", "#### 12 13", "#### twelve", "9" * 100_000, "#### \u0661\u0662", None])
def test_hostile_answers_fail(task, text) -> None:
    completions = [text if text is not None else []]
    assert task.verifier(completions=completions, answer=["12"]) == [0.0]
