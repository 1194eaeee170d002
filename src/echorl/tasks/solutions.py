"""Worked solutions of reasoning-gym questions: pure, seeded text, one step a line.

A sum can be worked out in several ways. The writer draws one of them, so that a policy trained on these solutions has a
choice at its first token and after each line, and some choices are worse than others. A product is worked out in one
way. Only its opening line is drawn, which has no effect on the result. `DEMONSTRATIONS` maps a reasoning-gym dataset to
its writer; the `reasoning_gym` task fills its column `demonstration` from it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

Lines = list[str]

JUMP = 0.15
"""Probability, before each line but the first, of adding all the remaining terms in one line."""

OPENINGS = ("Ok.", "So.", "Well.", "Hm.", "Yes.", "Now.", "First.", "Let me see.")
"""First lines of a product's solution, all equally likely."""

_SUM = re.compile(r"-?\d+(?: [+-] -?\d+)*(?= =)")
_PRODUCT = re.compile(r"(?<=multiplication: )-?\d+(?: \* -?\d+)*(?=\.)")


def read_terms(question: str) -> list[int]:
    """The signed terms of a chain_sum question, in their order.

    >>> read_terms("State the final answer to the following arithmetic problem: 57 + 87 - 70 =")
    [57, 87, -70]
    """
    match = _SUM.search(question)
    if match is None:
        raise ValueError(f"no sum such as '57 + 87 - 70 =' in the question {question!r}; give a chain_sum question")
    first, *tail = match.group().split(" ")
    return [int(first), *(int(n) if sign == "+" else -int(n) for sign, n in zip(tail[::2], tail[1::2], strict=True))]


def add_line(numbers: Sequence[int]) -> str:
    """A line that adds one or more numbers.

    >>> add_line([57, 87, -70])
    '57+87-70=74'
    """
    return str(numbers[0]) + "".join(f"{number:+d}" for number in numbers[1:]) + f"={sum(numbers)}"


def running_total(numbers: Sequence[int], rng: random.Random) -> Lines:
    """Lines that add the numbers in their order, one a line, or all remaining ones with probability `JUMP`.

    A single number is one line.
    """
    lines: Lines = []
    total, terms = numbers[0], list(numbers[1:])
    while terms:
        take = len(terms) if lines and rng.random() < JUMP else 1
        lines.append(add_line([total, *terms[:take]]))
        total, terms = total + sum(terms[:take]), terms[take:]
    return lines or [add_line(numbers)]


def reordered(numbers: Sequence[int], rng: random.Random) -> Lines:
    """Lines of a running total in a random order, in which it is easy to lose a term; a positive number comes first."""
    order = list(range(len(numbers)))
    positive = [i for i in order if numbers[i] >= 0] or order
    start = rng.choice(positive)
    tail = [i for i in order if i != start]
    rng.shuffle(tail)
    return running_total([numbers[i] for i in (start, *tail)], rng)


def split(numbers: Sequence[int], rng: random.Random) -> Lines:
    """Lines that add the tens, then the units, then both: small sums in more lines."""
    tens = [int(number / 10) * 10 for number in numbers]
    units = [number - ten for number, ten in zip(numbers, tens, strict=True)]
    return [add_line(tens), add_line(units), add_line([sum(tens), sum(units)])]


def at_once(numbers: Sequence[int], rng: random.Random) -> Lines:
    """A single line that adds all numbers."""
    return [add_line(numbers)]


WAYS: Mapping[str, tuple[float, Callable[[Sequence[int], random.Random], Lines]]] = {
    "in_order": (0.35, running_total),
    "reordered": (0.25, reordered),
    "split": (0.2, split),
    "at_once": (0.2, at_once),
}
"""Way of adding -> (its share of the demonstrations, its writer)."""


def chain_sum_solution(question: str, rng: random.Random) -> str:
    """A worked solution of a chain_sum question, in a way that is drawn by its share; it ends in `#### N`."""
    numbers = read_terms(question)
    [(_, write)] = rng.choices(list(WAYS.values()), weights=[share for share, _ in WAYS.values()])
    return "\n".join([*write(numbers, rng), f"#### {sum(numbers)}"])


def read_factors(question: str) -> list[int]:
    """The signed factors of a products question, in their order.

    Raises:
        ValueError: the question holds no product.

    >>> read_factors("Solve the following multiplication: 47 * 36. Give only the result as your final answer.")
    [47, 36]
    """
    match = _PRODUCT.search(question)
    if match is None:
        raise ValueError(
            f"no product such as 'multiplication: 47 * 36.' in the question {question!r}; give a products question"
        )
    return [int(factor) for factor in match.group().split(" * ")]


def place_values(number: int) -> list[int]:
    """The values of the number's digits except zeros, units first, each with the number's sign; 0 is one part.

    >>> place_values(306), place_values(-47), place_values(0)
    ([6, 300], [-7, -40], [0])
    """
    sign = -1 if number < 0 else 1
    digits = enumerate(reversed(str(abs(number))))
    return [sign * int(digit) * 10**place for place, digit in digits if digit != "0"] or [0]


def multiply(a: int, b: int) -> Lines:
    """Lines for `a` times each digit of `b`, then for their running sum; one line if `a` has one digit.

    >>> multiply(47, 36)
    ['47*6=282', '47*30=1410', '282+1410=1692']
    """
    parts = place_values(b) if abs(a) > 9 else [b]
    lines = [f"{a}*{part}={a * part}" for part in parts]
    sums = accumulate(a * part for part in parts)
    return lines + [add_line([total, a * part]) for total, part in zip(sums, parts[1:], strict=False)]


def products_solution(question: str, rng: random.Random) -> str:
    """The worked solution of a products question: a random opening, then factor by factor; it ends in `#### N`.

    The solution of a single factor is the opening and the answer.

    >>> question = "Solve the following multiplication: 12 * 30 * 4. Give only the result as your final answer."
    >>> products_solution(question, random.Random(0)).split(chr(10))
    ['First.', '12*30=360', '360*4=1440', '#### 1440']
    """
    product, *factors = read_factors(question)
    lines: Lines = [rng.choice(OPENINGS)]
    for factor in factors:
        lines += multiply(product, factor)
        product *= factor
    return "\n".join([*lines, f"#### {product}"])


DEMONSTRATIONS: Mapping[str, Callable[[str, random.Random], str]] = {
    "chain_sum": chain_sum_solution,
    "products": products_solution,
}
"""reasoning-gym dataset -> writer of a worked solution: (question, rng) -> text."""
