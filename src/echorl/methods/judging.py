"""Which of two right solutions is better, by a policy's own judgement: the question, the answer and the wins."""

from __future__ import annotations

import re
from collections.abc import Mapping

FIELDS = ("problem", "first", "second")
QUESTION = (
    "Below are a problem and two solutions of it, both of them right. Compare them: is each step correct and "
    "explained, is the order easy to follow, is anything left out or said twice? Write one or two sentences on each. "
    'Then name the better one on a line of its own, as "Judgment: [0]" or "Judgment: [1]".\n\n'
    "Problem:\n{problem}\n\nSolution 0:\n{first}\n\nSolution 1:\n{second}\n\nComparison:\n"
)
"""Text that asks for the better of two solutions, with a place for each of `FIELDS`."""
ANSWER = re.compile(r"^[^\d\n]{0,40}Judge?ment\W{1,12}([01])[^\w\n]*$", re.IGNORECASE | re.MULTILINE)
"""A line that ends with the judgement; the number can stand on the next one."""

Pair = tuple[int, int]
"""Two rollouts of one prompt, by their rows in a batch."""


def fill_question(template: str, problem: str, first: str, second: str) -> str:
    """Return the question with a problem and its solutions in the places of `FIELDS`.

    Their own braces mean nothing.

    >>> fill_question("{problem}? {first} or {second}", "2+2", "{second}", "4")
    '2+2? {second} or 4'
    """
    texts = dict(zip(FIELDS, (problem, first, second), strict=True))
    return re.sub(rf"\{{({'|'.join(FIELDS)})\}}", lambda match: texts[match[1]], template)


def read_judgement(text: str) -> int | None:
    """Return 0 or 1, the solution that a line first names as the better one; None if none does.

    >>> read_judgement("0 is terse.\\n**Judgment: [1]**\\n\\nJudgment: [0]"), read_judgement("Both are fine.")
    (1, None)
    """
    match = ANSWER.search(text)
    return None if match is None else int(match[1])


def count_wins(judgements: Mapping[Pair, int | None]) -> dict[int, float]:
    """Return row -> the number of its pairs that it won; a pair without a judgement is half a win for both.

    >>> count_wins({(4, 5): 0, (4, 6): 1, (5, 6): None})
    {4: 1.0, 5: 0.5, 6: 1.5}
    """
    wins: dict[int, float] = {row: 0.0 for pair in judgements for row in pair}
    for pair, judgement in judgements.items():
        for place, row in enumerate(pair):
            wins[row] += 0.5 if judgement is None else float(judgement == place)
    return wins
