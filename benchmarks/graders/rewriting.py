"""A gold written otherwise: each function gives the answer as it stands in a box, or None where it does not apply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from benchmarks.graders.latex import TEXT, TOKEN, Node, Unreadable, plain
from benchmarks.graders.values import may_equal, structure
from benchmarks.graders.write import Style, exact, in_latex_of_sympy, in_text_of_sympy, rewritten, write

Form = Callable[["Text"], "str | None"]
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
UNICODE = {"\\pi": "π", "\\infty": "∞", "\\cup": "∪", "\\omega": "ω", "\\tau": "τ", "\\alpha": "α", "\\theta": "θ"}


@dataclass(frozen=True)
class Text:
    """A gold of mathematics and what is known of it."""

    gold: str

    @cached_property
    def plain(self) -> str:
        return plain(self.gold)

    @cached_property
    def structure(self) -> Node | None:
        try:
            return structure(self.plain) if may_equal(self.plain, self.plain) else None
        except Unreadable:
            return None

    @cached_property
    def number(self) -> Fraction | None:
        """The value, if the gold is one plain rational number."""
        value = self.structure
        return exact(value[1]) if value is not None and value[0] == "value" else None

    @property
    def integer(self) -> int | None:
        number = self.number
        return int(number) if number is not None and re.fullmatch("-?[0-9]+", self.plain) else None

    @property
    def has_words(self) -> bool:
        return re.search(TEXT, self.plain) is not None


@lru_cache(maxsize=8192)
def text_of(gold: str) -> Text:
    return Text(gold)


def _tokens(text: Text) -> list[str]:
    return [token for token in TOKEN.findall(text.plain) if not token.isspace()]


def spaced(text: Text) -> str | None:
    """A space around every token."""
    return None if "matrix" in text.plain or "_{" in text.plain else " ".join(_tokens(text))


def unspaced(text: Text) -> str | None:
    """No space but those that end a command before a letter."""
    result = ""
    for token in _tokens(text):
        result += " " if re.search(r"\\[A-Za-z]+$", result) and token[0].isalpha() else ""
        result += " " if result[-1:].isdigit() and token[0].isdigit() else ""
        result += token
    return result


def thin_spaces(text: Text) -> str | None:
    """A thin space between a number and the root, letter, Greek letter or function behind it."""
    parts = _tokens(text)
    if "_" in parts or "matrix" in text.plain:
        return None
    pairs = zip(parts, [*parts[1:], ""], strict=True)
    return "".join(a + _thin(a, b) for a, b in pairs)


def _thin(token: str, following: str) -> str:
    if re.fullmatch("[0-9.]+", token) and re.match(r"[A-Za-z]|\\(sqrt|pi|sin|cos|ln|omega|tau)", following):
        return "\\,"
    return " " if re.search(r"\\[A-Za-z]+$", token) and following[:1].isalpha() else ""


def left_right(text: Text) -> str | None:
    if "matrix" in text.plain or "\\sqrt[" in text.plain or text.has_words:
        return None
    return re.sub(r"(\(|\[|\\\{)", r"\\left\1", re.sub(r"(\)|\]|\\\})", r"\\right\1", text.plain))


def replaced(old: str, new: str) -> Form:
    def form(text: Text) -> str | None:
        return text.plain.replace(old, new) if old in text.plain else None

    return form


def substituted(pattern: str, new: str) -> Form:
    def form(text: Text) -> str | None:
        result = re.sub(pattern, new, text.plain)
        return None if result == text.plain else result

    return form


def styled(style: Style, *, needs: str) -> Form:
    """The expressions in a style, where a node of the kind `needs` stands somewhere."""

    def form(text: Text) -> str | None:
        if f"'{needs}'" not in repr(text.structure):
            return None
        return rewritten(text.plain, lambda node: write(node, style))

    return form


def sympy_latex(text: Text) -> str | None:
    return rewritten(text.plain, in_latex_of_sympy)


def sympy_text(text: Text) -> str | None:
    """sympy's text, where neither e nor i stands in it: it writes E and I."""
    value = text.structure
    if value is None or value[0] != "value" or re.search(r"'name', '(e|i|\w+_\w+|infty)'", repr(value)):
        return None
    try:
        return in_text_of_sympy(value[1])
    except (Unreadable, AttributeError):
        return None


def decimal(text: Text) -> str | None:
    """The decimal of a fraction, where it ends within six digits."""
    number = text.number
    if number is None or number.denominator == 1 or 10**6 % number.denominator or "." in text.plain:
        return None
    return f"{float(number):.6f}".rstrip("0")


def repeating(text: Text) -> str | None:
    """A fraction below 1 with a period of up to three digits, as 0.\\overline{...}."""
    number = text.number
    if number is None or not 0 < number < 1 or "." in text.plain:
        return None
    for length in (1, 2, 3):
        digits = number * (10**length - 1)
        if digits.denominator == 1:
            return f"0.\\overline{{{int(digits):0{length}d}}}"
    return None


def fraction(text: Text) -> str | None:
    """The fraction in lowest terms of a decimal."""
    number = text.number
    if number is None or "." not in text.plain or number.denominator == 1 or "e" in text.plain:
        return None
    return f"{'-' if number < 0 else ''}\\frac{{{abs(number.numerator)}}}{{{number.denominator}}}"


def slash(text: Text) -> str | None:
    number = text.number
    if number is None or "\\frac" not in text.plain or text.structure[1][0] == "mixed":
        return None
    return re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text.plain)


def mixed_number(template: str) -> Form:
    def form(text: Text) -> str | None:
        number = text.number
        if number is None or number.denominator == 1 or abs(number) < 1 or "." in text.plain:
            return None
        whole, rest = divmod(abs(number), 1)
        return ("-" if number < 0 else "") + template.format(whole, rest.numerator, rest.denominator)

    return form


def thousands(separator: str) -> Form:
    def form(text: Text) -> str | None:
        if text.integer is None or abs(text.integer) < 1000 or text.plain.lstrip("-")[0] == "0":
            return None
        return f"{text.integer:,}".replace(",", separator)

    return form


def scientific(times: str) -> Form:
    """A number such as 2.5e-19 with a power of ten."""

    def form(text: Text) -> str | None:
        found = re.fullmatch(r"(-?[0-9.]+)[eE]\+?(-?[0-9]+)", text.plain)
        return f"{found[1]}{times} 10^{{{found[2]}}}" if found else None

    return form


def zeros(text: Text) -> str | None:
    """A zero behind a decimal, or `.0` behind an integer."""
    if text.number is None or "e" in text.plain:
        return None
    if re.fullmatch(r"-?[0-9]*\.[0-9]+", text.plain):
        return text.plain + "0"
    return f"{text.integer}.0" if text.integer is not None and text.plain[0] != "0" else None


def named_value(text: Text) -> str | None:
    """x = before one value without a letter."""
    value = text.structure
    return f"x = {text.plain}" if value[0] == "value" and "'name'" not in repr(value) else None


def unicode_minus(text: Text) -> str | None:
    return text.plain.replace("-", "−") if "-" in text.plain and not re.search("[0-9]e-", text.plain) else None


def unicode_powers(text: Text) -> str | None:
    result = re.sub(r"(?<=[a-z0-9)])\^(?:\{(-?[0-9]+)\}|([0-9]))", _superscript, text.plain)
    return None if result == text.plain else result


def _superscript(found: re.Match[str]) -> str:
    return (found[1] or found[2]).translate(SUPERSCRIPTS)


def unicode_signs(text: Text) -> str | None:
    result = text.plain
    for command, sign in UNICODE.items():
        result = re.sub(re.escape(command) + "(?![A-Za-z])", sign, result)
    return None if result == text.plain else result


def unicode_roots(text: Text) -> str | None:
    result = re.sub(r"\\sqrt\s*\{([0-9]+)\}(?!\s*[0-9])", r"√\1", text.plain)
    return None if result == text.plain else result


def full_width(text: Text) -> str | None:
    return text.plain.translate(FULL_WIDTH) if text.number is not None and "e" not in text.plain else None


def zero_width(text: Text) -> str | None:
    """Zero-width characters before, behind and after the first sign."""
    return None if text.plain.startswith("\\") else f"\u200b{text.plain[0]}\u200b{text.plain[1:]}\ufeff"


def word(template: str) -> Form:
    r"""A gold that is one \text{word}, written otherwise."""

    def form(text: Text) -> str | None:
        found = re.fullmatch(r"\\text\{([A-Za-z]+|\([A-Z]\))\}", text.plain)
        return template.format(found[1]) if found else None

    return form
