"""Generated word problems about counting things: a first task for a small pretrained model.

A problem adds and takes away parts, some of them products ("3 boxes of 4 apples"). Its worked solutions come in several
orders and styles, so that a policy trained on them has a choice at its first token and after each line.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

from echorl.tasks.base import SHARES, Log, Task, TaskRow, Verifier, make_prompt, make_verifier, take_instances
from echorl.tasks.verify.number import read_answer, same_plain_number

TEMPLATE = "{question}\n\nReason step by step, one step a line. End with the number alone after '####'."

# fmt: off
NAMES = ("Ana", "Ben", "Carla", "Dev", "Ella", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Liam", "Mina", "Noah",
         "Olga", "Paul", "Rosa", "Sam", "Tara", "Yusuf")
ITEMS = ("apples", "pears", "plums", "marbles", "stickers", "pencils", "cards", "shells", "stamps", "coins", "buttons",
         "cookies")
BOXES = ("boxes", "bags", "baskets", "jars", "trays", "packs")
KINDS = ("red", "blue", "green", "old", "new", "large", "small")
# fmt: on


@dataclass(frozen=True)
class Part:
    """`each` things of a kind, or `count` boxes of `each` things."""

    each: int
    count: int = 1
    box: str = ""
    kind: str = ""

    @property
    def value(self) -> int:
        """Number of things in the part."""
        return self.each * self.count

    def text(self, item: str) -> str:
        """The part in words."""
        things = f"{self.each} {self.kind} {item}" if self.kind else f"{self.each} {item}"
        return f"{self.count} {self.box} of {things}" if self.box else things


@dataclass(frozen=True)
class Problem:
    """A person has the parts in `has`, at least one, and gives away the parts in `gives`, which are fewer things."""

    name: str
    item: str
    has: tuple[Part, ...]
    gives: tuple[Part, ...] = ()

    @property
    def answer(self) -> int:
        """Number of things that remain."""
        return sum(part.value for part in self.has) - sum(part.value for part in self.gives)

    @property
    def question(self) -> str:
        """The problem in words.

        >>> Problem("Ana", "pears", (Part(4, 3, "bags"), Part(5, kind="red")), (Part(2),)).question
        'Ana has 3 bags of 4 pears and 5 red pears. Ana gives away 2 pears. How many pears does Ana have now?'
        """
        has = _and([part.text(self.item) for part in self.has])
        gives = f" {self.name} gives away {_and([part.text(self.item) for part in self.gives])}." if self.gives else ""
        return f"{self.name} has {has}.{gives} How many {self.item} does {self.name} have{' now' if gives else ''}?"


@dataclass(frozen=True, kw_only=True)
class WordProblems(Task):
    """Generated word problems of one or two operations; in the split "harder" of two, with numbers up to 99.

    A question's hash decides its split, so no question is in two of train, validation and test, for all sizes and
    seeds. A success is a final number equal to the answer. It follows the last `####`, else stands in the last
    `<answer>...</answer>`, the last `\\boxed{...}` or the last non-empty line. The columns are prompt, question, answer
    and demonstration.
    """

    template: str = TEMPLATE
    """The prompt, with `{question}` in it."""
    chat: bool = True
    """Make each prompt a user message instead of a string."""

    SPLITS: ClassVar[tuple[str, ...]] = tuple(SHARES)

    @cached_property
    def verifier(self) -> Verifier:
        """The reward function for the column `answer`."""
        return make_verifier("word_problems", "answer", _score)

    def rows(self, split: str, size: int | None, seed: int) -> list[TaskRow]:
        """Generated rows; only training rows may repeat."""
        problems = _problems(random.Random(f"{split} {seed}"), harder=split == "harder")
        taken = take_instances(((problem.question, problem) for problem in problems), split, size)
        return [self._row(problem, random.Random(f"{split} {seed} {i}")) for i, problem in enumerate(taken)]

    def _row(self, problem: Problem, rng: random.Random) -> TaskRow:
        return {
            "prompt": make_prompt(problem.question, template=self.template, chat=self.chat),
            "question": problem.question,
            "answer": str(problem.answer),
            "demonstration": solve(problem, rng),
        }


def _score(rows: list[tuple[str, str]], _: Log | None) -> list[float | None]:
    return [float(same_plain_number(reference, read_answer(text)) is True) for text, reference in rows]


def _problems(rng: random.Random, *, harder: bool) -> Iterator[Problem]:
    """Yield problems without end.

    A policy trained on the splits of small numbers may solve the harder ones; with three operations its pass@1 would be
    below 0.05.
    """
    while True:
        if harder:
            yield make_problem(rng, num_operations=2, largest=99)
        else:
            yield make_problem(rng, num_operations=rng.choice((1, 2)))


def make_problem(rng: random.Random, *, num_operations: int, largest: int = 30) -> Problem:
    """A problem with `num_operations` products, sums and differences in all, and no single part above `largest`."""
    num_parts = rng.randint((num_operations + 2) // 2, num_operations + 1)
    num_products = num_operations + 1 - num_parts
    boxes = rng.sample(BOXES, num_products)
    parts = [Part(rng.randint(2, 12), rng.randint(2, 9), box) for box in boxes]
    parts += [Part(rng.randint(2, largest), kind=kind) for kind in rng.sample(KINDS, num_parts - num_products)]
    rng.shuffle(parts)
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    first, *remaining = parts
    if rng.random() < 0.5 and first.value < sum(part.value for part in remaining):
        return Problem(name, item, tuple(remaining), (replace(first, kind=""),))
    return Problem(name, item, tuple(parts))


class Step(NamedTuple):
    """A line of a solution: `left sign right = result`. The product of a part counts the things in its `box`."""

    left: int
    sign: str
    right: int
    result: int
    box: str = ""


def solve(problem: Problem, rng: random.Random) -> str:
    """A worked solution, one step a line, with the answer after `####`; its order and style are drawn at random.

    >>> print(solve(Problem("Ana", "pears", (Part(4, 3, "bags"), Part(5))), random.Random(0)))
    bags: 3 x 4 = 12
    together: 5 + 12 = 17
    #### 17
    """
    write = rng.choice(STYLES)
    lines = [write(step, problem.item) for step in order_steps(problem, rng)]
    return "\n".join([*lines, f"#### {problem.answer}"])


def order_steps(problem: Problem, rng: random.Random) -> list[Step]:
    """Steps that add the parts in a random order, then subtract the parts given away; products first or when needed."""
    parts = [(part, "+") for part in rng.sample(problem.has, len(problem.has))]
    parts += [(part, "-") for part in problem.gives]
    products_first = rng.random() < 0.5
    steps = [_product(part) for part, _ in parts if part.box] if products_first else []
    total: int | None = None
    for part, sign in parts:
        if part.box and not products_first:
            steps.append(_product(part))
        if total is None:
            total = part.value
            continue
        result = total + part.value if sign == "+" else total - part.value
        steps.append(Step(total, sign, part.value, result))
        total = result
    return steps


def _product(part: Part) -> Step:
    return Step(part.count, "x", part.each, part.value, part.box)


def _sum(step: Step) -> str:
    return f"{step.left} {step.sign} {step.right} = {step.result}"


def _labelled(step: Step, item: str) -> str:
    return f"{step.box or {'+': 'together', '-': 'left'}[step.sign]}: {_sum(step)}"


def _in_words(step: Step, item: str) -> str:
    if step.box:
        return f"In the {step.box} there are {_sum(step)} {item}."
    verb = "Together that makes" if step.sign == "+" else "Without those given away there are"
    return f"{verb} {_sum(step)} {item}."


STYLES: tuple[Callable[[Step, str], str], ...] = (lambda step, item: _sum(step), _labelled, _in_words)


def _and(texts: Sequence[str]) -> str:
    return ", ".join(texts[:-1]) + " and " * (len(texts) > 1) + texts[-1]
