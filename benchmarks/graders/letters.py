"""Mutations of letters in a reference answer. Each returns a changed text, or None where it does not apply."""

from __future__ import annotations

import re
from random import Random

from benchmarks.graders.latex import GREEK, TOKEN
from benchmarks.graders.numbers import Mutation, places

LETTER = r"[A-Za-z]|\\(?:" + "|".join(name for name in GREEK if name not in ("infty", "odot", "max")) + ")"
PAIRS = {"a": "alpha", "b": "beta", "d": "delta", "k": "kappa", "l": "lambda", "m": "mu", "n": "eta", "p": "rho"}
PAIRS |= {"r": "rho", "s": "sigma", "t": "tau", "u": "mu", "v": "nu", "x": "chi", "g": "gamma", "R": "Gamma"}
LATIN = {greek: latin for latin, greek in PAIRS.items()}
OTHERS = "abcghkmnpqrstuvwxyzABCDFGHKLMNPQRSTUVWXYZ"


def letter_places(parts: list[str]) -> list[int]:
    """Indices of the letters outside subscripts, matrices and functions, except the d of a derivative."""
    if any("matrix" in "".join(parts[i : i + 8]) for i, part in enumerate(parts) if part == "\\begin"):
        return []
    derivative = re.search(r"\\frac\s*\{\s*d", "".join(parts)) is not None
    return [i for i in places(parts, LETTER) if not (derivative and parts[i] == "d")]


def _choice(rng: Random, text: str, pattern: str = ".*") -> tuple[list[str], int] | None:
    parts = TOKEN.findall(text)
    positions = [i for i in letter_places(parts) if re.fullmatch(pattern, parts[i])]
    return (parts, rng.choice(positions)) if positions else None


def _put(parts: list[str], i: int, new: str, end: int | None = None) -> str:
    """The text with the tokens from i to `end` replaced; a space keeps commands and letters apart."""
    after = parts[i + 1 if end is None else end :]
    gap = " " if re.search(r"\\[A-Za-z]+$", new) and after and after[0][:1].isalpha() else ""
    return "".join([*parts[:i], new + gap, *after])


def letter_replaced(rng: Random, text: str) -> str | None:
    """The text with another letter in place of one."""
    chosen = _choice(rng, text)
    if chosen is None:
        return None
    parts, i = chosen
    return _put(parts, i, rng.choice([letter for letter in OTHERS if letter.lower() != parts[i].lower()]))


def case_changed(rng: Random, text: str) -> str | None:
    """The text with one letter in the other case."""
    chosen = _choice(rng, text, "[A-Za-df-hj-z]|\\\\(?:gamma|delta|theta|sigma|omega|Delta|Omega)")
    if chosen is None:
        return None
    parts, i = chosen
    name = parts[i].lstrip("\\")
    changed = name.capitalize() if name.islower() else name.lower()
    return _put(parts, i, "\\" + changed if parts[i][0] == "\\" else changed)


def letter_dropped(rng: Random, text: str) -> str | None:
    """The text without one letter and its subscript; None for a letter after a number and a space, perhaps a unit."""
    if re.fullmatch(r".*[0-9}]\s+[A-Za-z]", text) and len(re.findall("[A-Za-z]", re.sub(r"\\[a-z]+", "", text))) == 1:
        return None
    chosen = _choice(rng, text)
    if chosen is None:
        return None
    parts, i = chosen
    return _put(parts, i, "", _end_of_subscript(parts, i))


def letter_to_one(rng: Random, text: str) -> str | None:
    """The text with 1 in place of one letter."""
    chosen = _choice(rng, text)
    return None if chosen is None else _put(chosen[0], chosen[1], "1", _end_of_subscript(*chosen))


def letter_to_zero(rng: Random, text: str) -> str | None:
    """The text with 0 in place of one letter."""
    chosen = _choice(rng, text)
    return None if chosen is None else _put(chosen[0], chosen[1], "0", _end_of_subscript(*chosen))


def all_letters_dropped(rng: Random, text: str) -> str | None:
    """The text without all letters and their subscripts, for a product or a sum, so that a number remains."""
    parts = TOKEN.findall(text)
    positions = letter_places(parts)
    if not positions or re.search(r"\\[a-z]*(sin|cos|ln|log|exp)|=|\(", text):
        return None
    for i in reversed(positions):
        parts[i : _end_of_subscript(parts, i)] = []
    return "".join(parts)


def _end_of_subscript(parts: list[str], i: int) -> int:
    """Index after a letter and its subscript, if it has one."""
    end = i + 1
    match = re.match(r"\s*_\s*(\{[^{}]*\}|[A-Za-z0-9]|\\[A-Za-z]+)", "".join(parts[end:]))
    length = match.end() if match else 0
    while length > 0:
        length -= len(parts[end])
        end += 1
    return end


def subscript_changed(rng: Random, text: str) -> str | None:
    """The text with one subscript changed."""
    matches = list(re.finditer(r"(?<=[A-Za-z])\s*_\s*(?:\{([A-Za-z0-9])\}|([A-Za-z0-9]))", _without_log(text)))
    if not matches:
        return None
    match = rng.choice(matches)
    old = match[1] or match[2]
    new = str((int(old) + 1) % 10) if old.isdigit() else rng.choice([x for x in "abkmnpq" if x != old.lower()])
    return text[: match.start()] + f"_{{{new}}}" + text[match.end() :]


def subscript_dropped(rng: Random, text: str) -> str | None:
    """The text without one subscript."""
    matches = list(re.finditer(r"(?<=[A-Za-z])\s*_\s*(?:\{[^{}]*\}|[A-Za-z0-9])", _without_log(text)))
    if not matches:
        return None
    match = rng.choice(matches)
    return text[: match.start()] + " " + text[match.end() :]


def _without_log(text: str) -> str:
    """The text with a space for the underscore of each base of a logarithm."""
    return re.sub(r"(\\log\s*)_", r"\1 ", text)


def greek_for_latin(rng: Random, text: str) -> str | None:
    """The text with a Greek letter in place of a Latin one."""
    chosen = _choice(rng, text, "|".join(PAIRS))
    return None if chosen is None else _put(chosen[0], chosen[1], "\\" + PAIRS[chosen[0][chosen[1]]])


def latin_for_greek(rng: Random, text: str) -> str | None:
    """The text with a Latin letter in place of a Greek one."""
    chosen = _choice(rng, text, "|".join(f"\\\\{greek}" for greek in LATIN))
    return None if chosen is None else _put(chosen[0], chosen[1], LATIN[chosen[0][chosen[1]][1:]])


def variable_renamed(rng: Random, text: str) -> str | None:
    """The text with one letter renamed at all places."""
    chosen = _choice(rng, text)
    if chosen is None:
        return None
    parts, i = chosen
    old, new = parts[i], rng.choice([x for x in OTHERS if x not in parts and x.lower() != parts[i].lower()])
    return "".join(new if j in letter_places(parts) and part == old else part for j, part in enumerate(parts))


def letters_exchanged(rng: Random, text: str) -> str | None:
    """The text with two letters exchanged."""
    parts = TOKEN.findall(text)
    positions = letter_places(parts)
    names = list(dict.fromkeys(parts[i] for i in positions))
    if len(names) < 2:
        return None
    a, b = rng.sample(names, 2)
    exchange = {a: b, b: a}
    changed = [exchange.get(part, part) if i in positions else part for i, part in enumerate(parts)]
    return re.sub(r"(\\[A-Za-z]+)(?=[A-Za-z])", r"\1 ", "".join(changed)) if "\\" in a + b else "".join(changed)


def letter_added(rng: Random, text: str) -> str | None:
    """The text times a letter."""
    if re.search(r",|=|\\cup|\\in|\\ge|[<>]|begin|text|mbox|circ|%", text):
        return None
    return f"{text} {rng.choice('kpqw')}" if "+" not in text and "-" not in text else f"({text}) {rng.choice('kpqw')}"


def letter_added_as_term(rng: Random, text: str) -> str | None:
    """The text plus or minus a letter."""
    if re.search(r",|\\cup|\\in|\\ge|[<>]|begin|text|mbox|circ|%", text):
        return None
    return f"{text} {rng.choice('+-')} {rng.choice('kpqw')}"


def word_changed(rng: Random, text: str) -> str | None:
    r"""A reference answer that is a \text{word}, with one letter changed."""
    match = re.fullmatch(r"\\text\{(\(?)([A-Za-z]+)(\)?)\}", text)
    if match is None:
        return None
    i = rng.randrange(len(match[2]))
    letters = "ABCDE" if len(match[2]) == 1 else "abcdefghiklmnoprstuvw"
    new = rng.choice([letter for letter in letters if letter.lower() != match[2][i].lower()])
    return f"\\text{{{match[1]}{match[2][:i]}{new}{match[2][i + 1 :]}{match[3]}}}"


LETTERS: dict[str, Mutation] = {
    "letter replaced": letter_replaced,
    "case changed": case_changed,
    "letter dropped": letter_dropped,
    "letter is 1": letter_to_one,
    "letter is 0": letter_to_zero,
    "all letters dropped": all_letters_dropped,
    "subscript changed": subscript_changed,
    "subscript dropped": subscript_dropped,
    "Greek for Latin": greek_for_latin,
    "Latin for Greek": latin_for_greek,
    "variable renamed": variable_renamed,
    "letters exchanged": letters_exchanged,
    "factor added": letter_added,
    "term added": letter_added_as_term,
    "word changed": word_changed,
}
