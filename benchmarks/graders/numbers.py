"""Mutations of numbers in a reference answer. Each returns a changed text, or None where it does not apply."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from benchmarks.graders.latex import NUMBER, TOKEN

Mutation = Callable[[Random, str], "str | None"]
BEFORE_A_SIGN = ("", "(", "[", "{", "\\{", ",", "=", "&", "\\\\", "\\cup", "\\ge", "\\geqslant", "\\in")


def places(parts: list[str], pattern: str) -> list[int]:
    """Indices of the tokens that match a pattern, outside subscripts."""
    return [i for i, part in enumerate(parts) if re.fullmatch(pattern, part) and not in_subscript(parts, i)]


def in_subscript(parts: list[str], i: int) -> bool:
    """Return whether the token follows an underscore, or stands in the braces after one."""
    before = [part for part in parts[:i] if not part.isspace()]
    while before and before[-1] not in ("{", "}", "_"):
        before.pop()
    return bool(before) and (
        (before[-1] == "_" and _last(parts, i) == "_") or (before[-1] == "{" and before[-2:-1] == ["_"])
    )


def _last(parts: list[str], i: int) -> str:
    """The last token before index i that is no space."""
    return next((part for part in reversed(parts[:i]) if not part.isspace()), "")


def of_a_number(change: Callable[[Random, str], str | None]) -> Mutation:
    """The mutation that applies `change` to one number of a text, except to an exponent without braces."""

    def mutate(rng: Random, text: str) -> str | None:
        parts = TOKEN.findall(text)
        positions = [i for i in places(parts, NUMBER) if _last(parts, i) != "^"]
        if not positions:
            return None
        i = rng.choice(positions)
        changed = change(rng, parts[i])
        if changed is None or changed == parts[i]:
            return None
        return "".join([*parts[:i], changed, *parts[i + 1 :]])

    return mutate


def _digits(number: str) -> list[int]:
    mantissa = re.match("[0-9.]*", number)
    assert mantissa is not None
    return [i for i, sign in enumerate(mantissa[0]) if sign.isdigit()]


def digit_changed(rng: Random, number: str) -> str:
    """The number with one digit changed."""
    i = rng.choice(_digits(number))
    lowest = 1 if i == 0 and len(number) > 1 else 0
    return number[:i] + str(rng.choice([d for d in range(lowest, 10) if str(d) != number[i]])) + number[i + 1 :]


def digit_dropped(rng: Random, number: str) -> str | None:
    """The number without one digit."""
    digits = _digits(number)
    if len(digits) < 2 or number.startswith("."):
        return None
    i = rng.choice(digits)
    return (number[:i] + number[i + 1 :]) if re.match(r"[1-9]", number[:i] + number[i + 1 :]) else None


def digit_repeated(rng: Random, number: str) -> str:
    """The number with one digit repeated."""
    i = rng.choice(_digits(number))
    return number[:i] + number[i] + number[i:]


def digits_swapped(rng: Random, number: str) -> str | None:
    """The number with two adjacent digits exchanged."""
    pairs = [(i, j) for i, j in zip(_digits(number), _digits(number)[1:], strict=False) if number[i] != number[j]]
    if not pairs:
        return None
    i, j = rng.choice(pairs)
    signs = list(number)
    signs[i], signs[j] = signs[j], signs[i]
    return "".join(signs)


def off_by_one(rng: Random, number: str) -> str | None:
    """The integer plus or minus 1."""
    if not number.isdigit():
        return None
    return str(int(number) + rng.choice([-1, 1])) if int(number) > 0 else "1"


def tenfold(rng: Random, number: str) -> str | None:
    """The integer times 10."""
    return number + "0" if number.isdigit() and number[0] != "0" else None


def thousandfold(rng: Random, number: str) -> str | None:
    """The number with a group of three zeros; a number of thousands for 0."""
    number = str(rng.randrange(1, 999)) if number == "0" else number
    return number + rng.choice(["{,}000", ",000", "\\,000"]) if re.fullmatch("[1-9][0-9]{0,2}", number) else None


def point_moved(rng: Random, number: str) -> str | None:
    """The decimal with its point moved by one place."""
    match = re.fullmatch(r"([0-9]*)\.([0-9]+)(.*)", number)
    if match is None:
        return None
    digits, place = match[1] + match[2], len(match[1]) + rng.choice([-1, 1])
    if not 0 <= place <= len(digits):
        return None
    return f"{digits[:place] or '0'}.{digits[place:] or '0'}{match[3]}"


def point_lost(rng: Random, number: str) -> str | None:
    """The decimal without its point."""
    return number.replace(".", "") if re.fullmatch(r"[0-9]+\.[0-9]*[1-9][0-9]*", number) else None


def doubled(rng: Random, number: str) -> str:
    """The number times 2."""
    match = re.fullmatch(r"([0-9.]+)(.*)", number)
    assert match is not None
    value = float(match[1]) * 2
    return (str(int(value)) if value == int(value) else f"{value:.10g}") + match[2]


def power_of_ten(rng: Random, number: str) -> str | None:
    """The number with another power of ten."""
    match = re.fullmatch(r"([0-9.]+)[eE]([+-]?[0-9]+)", number)
    return f"{match[1]}e{int(match[2]) + rng.choice([-3, -2, -1, 1, 2, 3])}" if match else None


def power_of_ten_in_latex(rng: Random, number: str) -> str | None:
    """The number with another power of ten, in LaTeX."""
    changed = power_of_ten(rng, number)
    return None if changed is None else "{} \\times 10^{{{}}}".format(*changed.split("e"))


def twice_in_latex(rng: Random, number: str) -> str | None:
    """The number times 2, in LaTeX."""
    return "{} \\times 10^{{{}}}".format(*doubled(rng, number).split("e")) if "e" in number else None


def sign_of_power(rng: Random, number: str) -> str | None:
    """The number with the opposite sign of its power of ten."""
    match = re.fullmatch(r"([0-9.]+)[eE]([+-]?)([0-9]+)", number)
    return f"{match[1]}e{'' if match[2] == '-' else '-'}{match[3]}" if match else None


def sign_flipped(rng: Random, text: str) -> str | None:
    """The text with a minus added or removed before a number at the start of an expression."""
    parts = TOKEN.findall(text)
    positions = [i for i in places(parts, NUMBER) if _last(parts, i) in (*BEFORE_A_SIGN, "-")]
    positions = [
        i for i in positions if _last(parts, i) != "-" or _last(parts, _place_of_minus(parts, i)) in BEFORE_A_SIGN
    ]
    if not positions:
        return None
    i = rng.choice(positions)
    if _last(parts, i) == "-":
        place = _place_of_minus(parts, i)
        return "".join(parts[:place] + parts[place + 1 :])
    return "".join([*parts[:i], "-", *parts[i:]])


def _place_of_minus(parts: list[str], i: int) -> int:
    return max(j for j in range(i) if not parts[j].isspace())


def whole_sign_flipped(rng: Random, text: str) -> str | None:
    """The text with the sign of the whole expression changed."""
    if re.search(r",|=|\\cup|\\in|\\ge|[<>]|begin", text):
        return None
    return text[1:] if text[0] == "-" and not re.search("[+-]", text[1:]) else f"-({text})"


def fraction_inverted(rng: Random, text: str) -> str | None:
    """The text with one fraction inverted."""
    matches = list(re.finditer(r"\\frac\{([^{}]+)\}\{([^{}]+)\}", text))
    if not matches:
        return None
    match = rng.choice(matches)
    return text[: match.start()] + f"\\frac{{{match[2]}}}{{{match[1]}}}" + text[match.end() :]


def fraction_appended(rng: Random, text: str) -> str | None:
    """A mixed number whose whole part is the reference answer, an integer."""
    if not re.fullmatch("-?[0-9]+", text):
        return None
    return text + rng.choice(["\\frac{2}{3}", " 2/3", " \\frac{1}{2}", " 1/2"])


def exponent_changed(rng: Random, text: str) -> str | None:
    """The text with one exponent changed."""
    matches = list(re.finditer(r"\^\s*(?:\{\s*(-?[0-9]+)\s*\}|([0-9]))", text))
    if not matches:
        return None
    match = rng.choice(matches)
    exponent = int(match[1] or match[2])
    changed = exponent + rng.choice([-1, 1]) if rng.random() < 0.7 else -exponent
    return text[: match.start()] + f"^{{{changed}}}" + text[match.end() :]


def base_changed(rng: Random, text: str) -> str | None:
    """The number with another base."""
    match = re.fullmatch(r"([0-9]+)_\{?([0-9])\}?", text)
    lowest = int(max(match[1])) + 1 if match else 10
    bases = [base for base in range(lowest, 10) if str(base) != match[2]] if match else []
    return f"{match[1]}_{rng.choice(bases)}" if match and bases else None


NUMBERS: dict[str, Mutation] = {
    "digit changed": of_a_number(digit_changed),
    "digit dropped": of_a_number(digit_dropped),
    "digit repeated": of_a_number(digit_repeated),
    "digits swapped": of_a_number(digits_swapped),
    "off by one": of_a_number(off_by_one),
    "tenfold": of_a_number(tenfold),
    "thousandfold": of_a_number(thousandfold),
    "point moved": of_a_number(point_moved),
    "point lost": of_a_number(point_lost),
    "doubled": of_a_number(doubled),
    "power of ten changed": of_a_number(power_of_ten),
    "power of ten changed, LaTeX": of_a_number(power_of_ten_in_latex),
    "doubled, LaTeX": of_a_number(twice_in_latex),
    "sign of the power of ten": of_a_number(sign_of_power),
    "sign flipped": sign_flipped,
    "sign of the whole flipped": whole_sign_flipped,
    "fraction inverted": fraction_inverted,
    "fraction appended": fraction_appended,
    "exponent changed": exponent_changed,
    "base changed": base_changed,
}
