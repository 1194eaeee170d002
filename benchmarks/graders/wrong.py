"""Wrong answers by seed: mutations of reference answers drawn at random, if they are certainly wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.graders import hedges
from benchmarks.graders.forms import in_box
from benchmarks.graders.latex import TEXT, Unreadable
from benchmarks.graders.letters import LETTERS
from benchmarks.graders.numbers import NUMBERS, Mutation
from benchmarks.graders.reference_answers import ReferenceAnswer
from benchmarks.graders.rewriting import text_of
from benchmarks.graders.structures import BY_CONSTRUCTION, STRUCTURES
from benchmarks.graders.values import far_apart

PER_KIND = {"math": 18, "number": 5, "geometry": 5}
"""Wrong answers of each kind of mutation and seed; fewer where the reference answers give no more."""
HEDGES_PER_KIND = {"math": 6, "number": 4, "choice": 3}
FAMILIES: dict[str, dict[str, Mutation]] = {"numbers": NUMBERS, "letters": LETTERS, "structure": STRUCTURES}


@dataclass(frozen=True)
class Case:
    """A completion whose right score is known; `kind` is the name of its form or of its mutation."""

    grader: str
    family: str
    kind: str
    reference_answer: str
    answer: str
    right: bool


def wrong_answers(references: Sequence[ReferenceAnswer], seeds: Iterable[int]) -> list[Case]:
    """The wrong answers of some seeds, each (grader, reference answer, answer) once."""
    cases: dict[tuple[str, str, str], Case] = {}
    for seed in seeds:
        for case in _of_seed(references, seed):
            cases.setdefault((case.grader, case.reference_answer, case.answer), case)
    return list(cases.values())


def _of_seed(references: Sequence[ReferenceAnswer], seed: int) -> Iterator[Case]:
    by_kind = {
        kind: [reference.text for reference in references if reference.kind == kind]
        for kind in PER_KIND | HEDGES_PER_KIND
    }
    for family, mutations in FAMILIES.items():
        for name, mutation in mutations.items():
            rng = Random(f"{seed}, {family}, {name}")
            yield from _mutated(rng, "math", by_kind["math"], family, name, mutation)
            if family == "numbers":
                yield from _mutated_numbers(rng, by_kind["number"], name, mutation)
                yield from _mutated(rng, "geometry", by_kind["geometry"], family, name, mutation)
    yield from _hedges(by_kind, seed)


def _mutated(
    rng: Random, grader: str, references: list[str], family: str, name: str, mutation: Mutation
) -> Iterator[Case]:
    remaining = PER_KIND[grader]
    for reference in rng.sample(references, len(references)):
        answer = mutated(rng, reference, name, mutation)
        if answer is not None:
            yield Case(grader, family, name, reference, in_box(answer), right=False)
            remaining -= 1
        if remaining == 0:
            return


def mutated(rng: Random, reference: str, name: str, mutation: Mutation) -> str | None:
    """The mutated reference answer; None where the mutation does not apply or may be right."""
    text = text_of(reference)
    if text.structure is None or ARBITRARY.search(text.plain):
        return None
    defined, value = definition(text.plain, relations=name in LETTERS)
    if name in LETTERS and defined and re.search("[=,]", value):
        return None
    changed = mutation(rng, value)
    if changed is None or changed == value:
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
    r"""The text without each `\text{...}` and its power, since a grader may ignore units."""
    return re.sub(rf"{TEXT}\s*(?:\^\s*(?:\{{[^{{}}]*\}}|[0-9]))?", "", text).strip()


ARBITRARY = re.compile(r"\\pm(?![a-z])|\\pi k|(?:^|\+)\s*[cC]\s*(?:_\{?[0-9]\}?)?\s*(?:e(?![a-z])|\\cos|\\sin|\)|x\^)")
"""Reference answers with both signs or with arbitrary constants, where a different answer may be right."""


def definition(text: str, *, relations: bool) -> tuple[str, str]:
    r"""The name and sign at the start of `x = 5`, `f(x) = x` or `x \in [1,2]`, and the text after them.

    `relations`: the other relations count as signs, too.
    """
    signs = r"=|\\in(?![a-z])" + (r"|\\geqslant|\\ge|<|>" if relations else "")
    match = re.match(rf"[A-Za-z](?:_\{{?[^{{}}]*\}}?)?(?:\([a-z]\))?\s*(?:{signs})\s*", text)
    return (text[: match.end()], text[match.end() :]) if match else ("", text)


def _mutated_numbers(rng: Random, references: list[str], name: str, mutation: Mutation) -> Iterator[Case]:
    remaining = PER_KIND["number"]
    for reference in rng.sample(references, len(references)):
        number = reference.replace(",", "")
        answer = mutation(rng, number)
        if answer is None or "(" in answer or not (name in BY_CONSTRUCTION or wrong_number(number, answer)):
            continue
        place = hedges.PLACES[rng.choice(list(hedges.PLACES))]
        yield Case("number", "numbers", name, reference, place.format(answer), right=False)
        remaining -= 1
        if remaining == 0:
            return


def wrong_number(number: str, answer: str) -> bool:
    """Return whether the answer is certainly another number."""
    try:
        return far_apart(number, answer)
    except Unreadable:
        return False


def _hedges(references: dict[str, list[str]], seed: int) -> Iterator[Case]:
    rng = Random(f"{seed}, hedges")
    texts = [text for text in references["math"] if text_of(text).structure is not None]
    plain = [text for text in texts if text_of(text).number]
    numbers = [text for text in references["number"] if text.isdigit() and int(text) > 12]
    letters = [text for text in references["choice"] if text.isalpha()]
    for forms, pool in ((hedges.MATHEMATICS, texts), (hedges.NUMBERS_IN_MATHEMATICS, plain)):
        for name, form in forms.items():
            yield from (
                Case("math", "hedges", name, a, in_box(text), False)
                for a, text in _filled(rng, form, pool, HEDGES_PER_KIND["math"])
            )
    for name, form in hedges.NUMBERS.items():
        place = hedges.PLACES[rng.choice(list(hedges.PLACES))]
        for reference, text in _filled(rng, form, numbers, HEDGES_PER_KIND["number"]):
            yield Case("number", "hedges", name, reference, place.format(text), right=False)
    for name, form in hedges.CHOICES.items():
        for reference, text in _filled(rng, form, letters, HEDGES_PER_KIND["choice"]):
            yield Case("choice", "hedges", name, reference, text, right=False)
    if "A" in letters:
        yield from (Case("choice", "hedges", name, "A", form, right=False) for name, form in hedges.LETTER_A.items())


def _filled(rng: Random, form: str, references: list[str], count: int) -> Iterator[tuple[str, str]]:
    """Pairs of a random reference answer and the form that is filled with it and another one."""
    for reference in rng.sample(references, min(len(references), count)):
        candidates = rng.sample(references, min(len(references), 8))
        different = [candidate for candidate in candidates if _differ(reference, candidate)]
        if different:
            yield reference, form.format(a=text_of(reference).plain, b=text_of(different[0]).plain)


def _differ(a: str, b: str) -> bool:
    try:
        return a != b and far_apart(text_of(a).plain, text_of(b).plain)
    except Unreadable:
        return False
