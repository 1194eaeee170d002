"""List of the datasets of reasoning-gym with safe scorers, and checks for scorers that accept wrong answers.

`worker` imports this file without the rest of echorl. The scorers are those of version 0.1.25.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from .worker_gym_syntax import ARITHMETIC, evaluate

_NAMES = """
ab advanced_geometry arc_agi binary_matrix bitwise_arithmetic boxnet calendar_arithmetic chain_sum circuit_logic
codeio coin_flip color_cube_rotation complex_arithmetic countdown cryptarithm decimal_arithmetic decimal_chain_sum
dice emoji_mystery family_relationships figlet_font fraction_simplification futoshiki game_of_life
game_of_life_halting graph_color group_anagrams gsm_symbolic intermediate_integration jugs kakurasu knight_swap
knights_knaves letter_jumble manipulate_matrix mini_sudoku n_queens needle_haystack number_format number_sorting
palindrome_generation palindrome_partitioning path_star polynomial_equations polynomial_multiplication pool_matrix
power_function prime_factorization products puzzle24 quantum_lock rearc rectangle_count rubiks_cube rush_hour
self_reference sentence_reordering shortest_path simple_integration sokoban spell_backward spiral_matrix
string_insertion sudoku survo time_intervals tower_of_hanoi tsumego word_ladder word_sorting zebra_puzzles
"""
CHECKED_SCORERS = frozenset(_NAMES.split())
"""Datasets with a scorer of their own that was read and is safe. Comparisons of the base class need no entry."""

Check = Callable[[str, Mapping[str, Any]], bool]
"""(answer, instance) -> True if the answer passes."""

MAX_MOVES = 1_000


def has_form(generator: str, answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer has the form that the question asks for; else it scores 0 and is not passed on."""
    return generator not in FORMS or FORMS[generator](answer, instance)


def is_right(generator: str, answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether an answer that got 1.0 from its scorer is right by the rules of the question."""
    return generator not in RULES or RULES[generator](answer, instance)


def arithmetic_value(text: str, *, powers: bool) -> tuple[Fraction, list[int]]:
    """The exact value of integers with + - * / (and ** with exponents up to 20) and the integers; else ValueError.

    >>> arithmetic_value("(5 + 1)*8 / 2", powers=False)
    (Fraction(24, 1), [5, 1, 8, 2])
    """
    numbers: list[int] = []

    def number(node: ast.expr) -> Fraction:
        if not isinstance(node, ast.Constant) or type(node.value) is not int or abs(node.value) >= 10**9:
            raise ValueError(f"no {type(node).__name__} here")
        numbers.append(node.value)
        return Fraction(node.value)

    if not re.fullmatch(r"[0-9+\-*/()\s]{1,500}", text):
        raise ValueError("not an expression of integers")
    tree = ast.parse(" ".join(text.split()), mode="eval").body
    operators: dict[type[ast.AST], Callable[..., Any]] = {**ARITHMETIC, ast.UAdd: operator.pos}
    if powers:
        operators[ast.Pow] = _power
    return evaluate(tree, number, operators), numbers


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or abs(exponent) > 20 or max(abs(base.numerator), base.denominator) > 10**9:
        raise ValueError("the power is too large")
    return base ** int(exponent)


def _uses_numbers(answer: str, numbers: list[int], target: int, *, powers: bool) -> bool:
    try:
        value, used = arithmetic_value(answer, powers=powers)
    except (ValueError, SyntaxError, ZeroDivisionError, RecursionError, MemoryError):
        return False
    return value == target and sorted(used) == sorted(numbers)


def _is_fraction(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer is a number that `Fraction` reads without a large power of ten."""
    text = answer.replace(",", "").strip()
    return bool(re.fullmatch(r"\+?(\d{1,50}(/\d{1,50})?|(\d{0,50}\.\d{1,50}|\d{1,50}\.?)([eE][+-]?\d{1,2})?)", text))


def _is_probability(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer is within the tolerance; the scorer also accepts "0" and "0.2" for "0.25".

    The scorer's tolerance of 0.0001 is as large as some probabilities, so an answer may also differ by at most 1 %. The
    value rounded to four decimals is right, too.
    """
    value, reference = Fraction(answer.replace(",", "").strip()), Fraction(instance["answer"])
    return abs(value - reference) <= min(Fraction(1, 10_000), reference / 100) or value == round(reference, 4) > 0


def _sorts(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer has the question's numbers, since the scorer accepts NaN and differences of 1."""
    numbers = [float(number) for number in json.loads(answer.replace("'", '"'))]
    return numbers == [float(number) for number in instance["metadata"]["sorted_numbers"]]


def _is_duration(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer ends with the number of days or the time, since the scorer ignores what follows."""
    days, clock = r"-?\d+(\s+days?)?", r"\d+:\d+(:\d+(\.\d+)?)?"
    form = days if instance["metadata"]["task_type"] == "date" else rf"({days},\s*)?{clock}"
    return bool(re.fullmatch(form, answer.strip().rstrip(".")))


def _presses_buttons(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the letters A to C are words of their own, since the scorer finds them in any word."""
    words = re.findall(r"[^\W\d_]+", answer.upper())
    return all(set(word) <= set("ABC") or not set(word) & set("ABC") for word in words)


def _turns_cube(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer has at most `MAX_MOVES` moves, since the scorer repeats a move by its count."""
    counts = re.findall(r"\d+", answer)
    return all(len(count) <= 4 for count in counts) and sum(map(int, counts)) <= MAX_MOVES


def _names_word(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer is the whole word, since the scorer accepts ten of its letters, or a longer text."""
    return "".join(answer.split(" ")).strip().lower() == instance["answer"].strip().lower()


def _is_whole_number(answer: str, instance: Mapping[str, Any]) -> bool:
    """Return whether the answer has one number, and the scorer read all of it: not the 5 of -5 or 5/7."""
    number = r"\b-?\d+(?:\.\d+)?\b"
    match = re.search(number, answer)
    if match is None or len(set(re.findall(number, answer))) > 1 or re.search(r"\bnot\b|\bor\b|n't\b|≠", answer):
        return False
    before, after = answer[: match.start()], answer[match.end() :]
    return not re.search(r"[-−]\$?$", before) and not re.match(r",\d{3}|:\d|!|\s*[/*^×÷+=±]", after)


FORMS: Mapping[str, Check] = {
    "coin_flip": _is_fraction,
    # only digits and signs, since "nan" has no distance to any number
    "complex_arithmetic": lambda answer, _: bool(re.fullmatch(r"[\d\s.+\-()eijEIJ]{1,200}", answer)),
    # nothing where there is no solution, since the scorer takes any text without numbers
    "polynomial_equations": lambda answer, instance: instance["answer"] != "" or answer.strip() in ("", '""', "''"),
    "quantum_lock": _presses_buttons,
    "rubiks_cube": _turns_cube,
    # fewer than 100 steps for each car, since the scorer makes each step
    "rush_hour": lambda answer, _: not re.search(r"\d{3}", answer),
}
"""Dataset -> the check of an answer before its scorer is called."""
RULES: Mapping[str, Check] = {
    # moves of boxes, and not of targets
    "boxnet": lambda answer, _: all(
        move.startswith("move(box_") for step in json.loads(answer) for move in step.values()
    ),
    "coin_flip": _is_probability,
    "countdown": lambda answer, instance: _uses_numbers(
        answer, instance["metadata"]["numbers"], instance["metadata"]["target"], powers=True
    ),
    "figlet_font": _names_word,
    # a fraction in LaTeX as the whole answer
    "fraction_simplification": lambda answer, _: (
        "\\" not in answer or bool(re.fullmatch(r"[\s$]*\\d?frac\s*\{[\d\s]+\}\s*\{[\d\s]+\}[\s$.]*", answer))
    ),
    # the grid without further rows and cells
    "game_of_life": lambda answer, instance: json.loads(answer) == json.loads(instance["answer"]),
    # the reference answer, since the scorer's `bool` takes any text as true
    "game_of_life_halting": lambda answer, instance: answer.strip().strip("'\".").lower() == instance["answer"].lower(),
    "gsm_symbolic": _is_whole_number,
    # as many words as in the reference answer, since the scorer ignores further ones
    "letter_jumble": lambda answer, instance: len(answer.split()) == len(instance["answer"].split()),
    "number_sorting": _sorts,
    # numbers with commas between them, since the scorer skips other parts
    "polynomial_equations": lambda answer, instance: (
        instance["answer"] == ""
        or all(re.fullmatch(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", part) for part in answer.split(","))
    ),
    "puzzle24": lambda answer, instance: _uses_numbers(answer, instance["metadata"]["numbers"], 24, powers=False),
    "spell_backward": _names_word,
    "time_intervals": _is_duration,
    # all words, and no further ones
    "word_sorting": lambda answer, instance: len(answer.split(",")) == len(instance["metadata"]["sorted_words"]),
}
"""Dataset -> the check of an answer to which its scorer gave 1.0."""
