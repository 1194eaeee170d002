"""Wrong answers by seed: every kind of mutation on golds drawn at random, and only those that are wrong for certain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.graders import hedges
from benchmarks.graders.forms import in_box
from benchmarks.graders.golds import Gold
from benchmarks.graders.latex import TEXT, Unreadable
from benchmarks.graders.letters import LETTERS
from benchmarks.graders.numbers import NUMBERS, Mutation
from benchmarks.graders.rewriting import text_of
from benchmarks.graders.structures import BY_CONSTRUCTION, STRUCTURES
from benchmarks.graders.values import far_apart

PER_KIND = {"math": 18, "number": 5, "geometry": 5}
"""Wrong answers of each kind of mutation and seed; fewer where the golds give no more."""
HEDGES_PER_KIND = {"math": 6, "number": 4, "choice": 3}
FAMILIES: dict[str, dict[str, Mutation]] = {"numbers": NUMBERS, "letters": LETTERS, "structure": STRUCTURES}


@dataclass(frozen=True)
class Case:
    """A completion whose right score is known; `kind` is the name of its form or of its mutation."""

    grader: str
    family: str
    kind: str
    gold: str
    answer: str
    right: bool


def wrong_answers(golds: Sequence[Gold], seeds: Iterable[int]) -> list[Case]:
    """The wrong answers of some seeds, each (grader, gold, answer) once."""
    cases: dict[tuple[str, str, str], Case] = {}
    for seed in seeds:
        for case in _of_seed(golds, seed):
            cases.setdefault((case.grader, case.gold, case.answer), case)
    return list(cases.values())


def _of_seed(golds: Sequence[Gold], seed: int) -> Iterator[Case]:
    by_kind = {kind: [gold.text for gold in golds if gold.kind == kind] for kind in PER_KIND | HEDGES_PER_KIND}
    for family, mutations in FAMILIES.items():
        for name, mutation in mutations.items():
            rng = Random(f"{seed}, {family}, {name}")
            yield from _mutated(rng, "math", by_kind["math"], family, name, mutation)
            if family == "numbers":
                yield from _mutated_numbers(rng, by_kind["number"], name, mutation)
                yield from _mutated(rng, "geometry", by_kind["geometry"], family, name, mutation)
    yield from _hedges(by_kind, seed)


def _mutated(rng: Random, grader: str, golds: list[str], family: str, name: str, mutation: Mutation) -> Iterator[Case]:
    left = PER_KIND[grader]
    for gold in rng.sample(golds, len(golds)):
        answer = mutated(rng, gold, name, mutation)
        if answer is not None:
            yield Case(grader, family, name, gold, in_box(answer), right=False)
            left -= 1
        if left == 0:
            return


def mutated(rng: Random, gold: str, name: str, mutation: Mutation) -> str | None:
    """The gold mutated, or None where the mutation doesn't apply or isn't wrong for certain."""
    text = text_of(gold)
    if text.structure is None or ARBITRARY.search(text.plain):
        return None
    defined, rest = definition(text.plain, relations=name in LETTERS)
    if name in LETTERS and defined and re.search("[=,]", rest):
        return None
    changed = mutation(rng, rest)
    if changed is None or changed == rest:
        return None
    answer = (defined + changed).strip()
    if without_units(answer) == without_units(text.plain) != "":
        return None
    if name in BY_CONSTRUCTION:
        return answer
    try:
        return answer if far_apart(text.plain, answer) else None
    except Unreadable:
        return None


def without_units(text: str) -> str:
    r"""The text without each `\text{...}` and its power: where the unit alone differs a grader may be lenient."""
    return re.sub(rf"{TEXT}\s*(?:\^\s*(?:\{{[^{{}}]*\}}|[0-9]))?", "", text).strip()


ARBITRARY = re.compile(r"\\pm(?![a-z])|\\pi k|(?:^|\+)\s*[cC]\s*(?:_\{?[0-9]\}?)?\s*(?:e(?![a-z])|\\cos|\\sin|\)|x\^)")
"""Golds with both signs or with constants that may be named and chosen at will: what differs there may be right."""


def definition(text: str, *, relations: bool) -> tuple[str, str]:
    r"""A text's beginning up to the sign of `x = 5`, `f(x) = x` or `x \in [1,2]`, and the rest: its name is no answer.

    `relations`: so is what stands before other signs.
    """
    signs = r"=|\\in(?![a-z])" + (r"|\\geqslant|\\ge|<|>" if relations else "")
    found = re.match(rf"[A-Za-z](?:_\{{?[^{{}}]*\}}?)?(?:\([a-z]\))?\s*(?:{signs})\s*", text)
    return (text[: found.end()], text[found.end() :]) if found else ("", text)


def _mutated_numbers(rng: Random, golds: list[str], name: str, mutation: Mutation) -> Iterator[Case]:
    left = PER_KIND["number"]
    for gold in rng.sample(golds, len(golds)):
        number = gold.replace(",", "")
        answer = mutation(rng, number)
        if answer is None or "(" in answer or not (name in BY_CONSTRUCTION or wrong_number(number, answer)):
            continue
        place = hedges.PLACES[rng.choice(list(hedges.PLACES))]
        yield Case("number", "numbers", name, gold, place.format(answer), right=False)
        left -= 1
        if left == 0:
            return


def wrong_number(number: str, answer: str) -> bool:
    try:
        return far_apart(number, answer)
    except Unreadable:
        return False


def _hedges(golds: dict[str, list[str]], seed: int) -> Iterator[Case]:
    rng = Random(f"{seed}, hedges")
    texts = [text for text in golds["math"] if text_of(text).structure is not None]
    plain = [text for text in texts if text_of(text).number]
    numbers = [text for text in golds["number"] if text.isdigit() and int(text) > 12]
    letters = [text for text in golds["choice"] if text.isalpha()]
    for forms, pool in ((hedges.MATHEMATICS, texts), (hedges.NUMBERS_IN_MATHEMATICS, plain)):
        for name, form in forms.items():
            yield from (
                Case("math", "hedges", name, a, in_box(text), False)
                for a, text in _filled(rng, form, pool, HEDGES_PER_KIND["math"])
            )
    for name, form in hedges.NUMBERS.items():
        place = hedges.PLACES[rng.choice(list(hedges.PLACES))]
        for gold, text in _filled(rng, form, numbers, HEDGES_PER_KIND["number"]):
            yield Case("number", "hedges", name, gold, place.format(text), right=False)
    for name, form in hedges.CHOICES.items():
        for gold, text in _filled(rng, form, letters, HEDGES_PER_KIND["choice"]):
            yield Case("choice", "hedges", name, gold, text, right=False)
    if "A" in letters:
        yield from (Case("choice", "hedges", name, "A", form, right=False) for name, form in hedges.LETTER_A.items())


def _filled(rng: Random, form: str, golds: list[str], count: int) -> Iterator[tuple[str, str]]:
    """(gold, the form filled in with it and another one), for golds drawn at random."""
    for gold in rng.sample(golds, min(len(golds), count)):
        others = [other for other in rng.sample(golds, min(len(golds), 8)) if _other_value(gold, other)]
        if others:
            yield gold, form.format(a=text_of(gold).plain, b=text_of(others[0]).plain)


def _other_value(gold: str, other: str) -> bool:
    try:
        return gold != other and far_apart(text_of(gold).plain, text_of(other).plain)
    except Unreadable:
        return False
