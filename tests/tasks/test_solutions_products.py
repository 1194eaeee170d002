import random
import re

import pytest

from echorl.tasks import load_task
from echorl.tasks.solutions import DEMONSTRATIONS, OPENINGS, multiply, place_values, products_solution, read_factors

QUESTION = "Solve the following multiplication: {}. Give only the result as your final answer."


@pytest.mark.parametrize("digits", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_demonstrations_verify_and_every_line_is_true(digits: int, seed: int) -> None:
    config = {"min_terms": 1, "max_terms": 4, "min_digits": digits, "max_digits": digits, "allow_negation": seed == 2}
    task = load_task("reasoning_gym", generator="products", config=config)
    rows = task.dataset("train", size=150, seed=seed)
    assert task.verifier(completions=rows["demonstration"][:], instance=rows["instance"][:]) == [1.0] * 150
    wrong = [text + "1" for text in rows["demonstration"]]
    assert task.verifier(completions=wrong, instance=rows["instance"][:]).count(1.0) == 0
    for question, text in zip(rows["question"], rows["demonstration"], strict=True):
        opening, *lines, final = text.split("\n")
        assert opening in OPENINGS
        assert all(is_true(line) for line in lines)
        assert final == (f"#### {lines[-1].split('=')[1]}" if lines else f"#### {read_factors(question)[0]}")


def is_true(line: str) -> bool:
    """Return whether `A*B=C` or `A+B=C` is true, by a reader of its own."""
    match = re.fullmatch(r"(-?\d+)(\*|\+|(?=-))(-?\d+)=(-?\d+)", line)
    assert match, line
    a, sign, b, result = match.groups()
    return (int(a) * int(b) if sign == "*" else int(a) + int(b)) == int(result)


def test_the_check_of_lines_refuses_a_false_line() -> None:
    assert not is_true("47*6=281")
    assert not is_true("282+1410=1693")


@pytest.mark.parametrize(
    ("a", "b", "lines"),
    [
        (123, 406, ["123*6=738", "123*400=49200", "738+49200=49938"]),
        (12, 345, ["12*5=60", "12*40=480", "12*300=3600", "60+480=540", "540+3600=4140"]),
        (47, 30, ["47*30=1410"]),
        (47, 0, ["47*0=0"]),
        (7, 36, ["7*36=252"]),
        (0, 36, ["0*36=0"]),
        (-47, 36, ["-47*6=-282", "-47*30=-1410", "-282-1410=-1692"]),
        (-47, -36, ["-47*-6=282", "-47*-30=1410", "282+1410=1692"]),
    ],
)
def test_multiply_writes_a_line_for_each_digit(a: int, b: int, lines: list[str]) -> None:
    assert multiply(a, b) == lines


def test_place_values_add_up_to_the_number() -> None:
    for number in range(-1100, 1100):
        assert sum(place_values(number)) == number


def test_solutions_differ_in_their_opening_alone() -> None:
    write = DEMONSTRATIONS["products"]
    assert write is products_solution
    solutions = [write(QUESTION.format("47 * 36"), random.Random(seed)).split("\n", 1) for seed in range(100)]
    assert {opening for opening, _ in solutions} == set(OPENINGS)
    assert len({lines for _, lines in solutions}) == 1


@pytest.mark.parametrize(
    "question",
    ["How many apples?", "47 * 36", QUESTION.format("47 + 36"), QUESTION.format("47 * x"), QUESTION.format("")],
)
def test_a_question_without_a_product_is_refused(question: str) -> None:
    with pytest.raises(ValueError, match=r"^no product such as 'multiplication: 47 \* 36.' in the question "):
        read_factors(question)
