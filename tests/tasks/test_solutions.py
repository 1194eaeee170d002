import random

import pytest

from echorl.tasks import load_task, solutions
from echorl.tasks.solutions import DEMONSTRATIONS, WAYS, chain_sum_solution, read_terms

QUESTION = "State the final answer to the following arithmetic problem: {} ="


@pytest.fixture(scope="module")
def data():
    config = {"min_terms": 1, "max_terms": 6, "max_digits": 3, "allow_negation": True}
    task = load_task("reasoning_gym", config=config)
    return task, task.dataset("train", size=300)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_verifies(way: str, data, monkeypatch) -> None:
    monkeypatch.setattr(solutions, "WAYS", {way: WAYS[way]})
    task, rows = data
    texts = [chain_sum_solution(question, random.Random(0)) for question in rows["question"]]
    assert task.verifier(completions=texts, instance=rows["instance"][:]) == [1.0] * len(rows)


def test_every_line_is_true_and_none_is_blank(data) -> None:
    for text in data[1]["demonstration"]:
        *lines, final = text.split("\n")
        assert final.startswith("#### ")
        for line in lines:
            left, right = line.split("=")
            assert sum(read_terms_of(left)) == int(right)


def read_terms_of(expression: str) -> list[int]:
    return read_terms(QUESTION.format(expression[0] + expression[1:].replace("+", " + ").replace("-", " - ")))


@pytest.mark.parametrize(
    ("expression", "terms"),
    [("7", [7]), ("-7 + 5", [-7, 5]), ("7 - -5 + -2", [7, 5, -2]), ("120 + 87 - 70", [120, 87, -70])],
)
def test_terms_of_a_question_are_read_with_their_signs(expression: str, terms: list[int]) -> None:
    assert read_terms(QUESTION.format(expression)) == terms


def test_a_question_without_a_sum_is_refused() -> None:
    with pytest.raises(ValueError, match="no sum such as"):
        read_terms("How many apples?")


def test_solutions_are_seeded_and_varied() -> None:
    question = QUESTION.format("57 + 87 - 71 - 15")
    write = DEMONSTRATIONS["chain_sum"]
    texts = [write(question, random.Random(seed)) for seed in range(200)]
    assert texts == [write(question, random.Random(seed)) for seed in range(200)]
    assert len(set(texts)) > 10
