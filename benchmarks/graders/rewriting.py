"""Other forms of a reference answer. Each function returns the content of a box, or None where it does not apply."""

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
    """A reference answer of mathematics, with its plain text, structure and value."""

    reference_answer: str

    @cached_property
    def plain(self) -> str:
        """The reference answer without layout."""
        return plain(self.reference_answer)

    @cached_property
    def structure(self) -> Node | None:
        """The structure of the answer; None if the reader refuses it."""
        try:
            return structure(self.plain) if may_equal(self.plain, self.plain) else None
        except Unreadable:
            return None

    @cached_property
    def number(self) -> Fraction | None:
        """The value of a plain rational number; None for any other reference answer."""
        value = self.structure
        return exact(value[1]) if value is not None and value[0] == "value" else None

    @property
    def integer(self) -> int | None:
        """The integer in digits; None for any other reference answer."""
        number = self.number
        return int(number) if number is not None and re.fullmatch("-?[0-9]+", self.plain) else None

    @property
    def has_words(self) -> bool:
        """True if a text in words is part of the answer."""
        return re.search(TEXT, self.plain) is not None


@lru_cache(maxsize=8192)
def text_of(reference: str) -> Text:
    """The reference answer as a `Text`, from a cache."""
    return Text(reference)


def _tokens(text: Text) -> list[str]:
    return [token for token in TOKEN.findall(text.plain) if not token.isspace()]


def spaced(text: Text) -> str | None:
    """The text with a space around every token."""
    return None if "matrix" in text.plain or "_{" in text.plain else " ".join(_tokens(text))


def unspaced(text: Text) -> str | None:
    """The text without spaces, except those that end a command before a letter."""
    result = ""
    for token in _tokens(text):
        result += " " if re.search(r"\\[A-Za-z]+$", result) and token[0].isalpha() else ""
        result += " " if result[-1:].isdigit() and token[0].isdigit() else ""
        result += token
    return result


def thin_spaces(text: Text) -> str | None:
    """The text with a thin space between a number and the root, letter or function after it."""
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
    r"""The text with \left and \right at its brackets."""
    if "matrix" in text.plain or "\\sqrt[" in text.plain or text.has_words:
        return None
    return re.sub(r"(\(|\[|\\\{)", r"\\left\1", re.sub(r"(\)|\]|\\\})", r"\\right\1", text.plain))


def replaced(old: str, new: str) -> Form:
    """The form with `new` in place of `old`."""

    def form(text: Text) -> str | None:
        return text.plain.replace(old, new) if old in text.plain else None

    return form


def substituted(pattern: str, new: str) -> Form:
    """The form with `new` in place of a pattern."""

    def form(text: Text) -> str | None:
        result = re.sub(pattern, new, text.plain)
        return None if result == text.plain else result

    return form


def styled(style: Style, *, needs: str) -> Form:
    """The form with all expressions in a style, for texts with a node of the kind `needs`."""

    def form(text: Text) -> str | None:
        if f"'{needs}'" not in repr(text.structure):
            return None
        return rewritten(text.plain, lambda node: write(node, style))

    return form


def sympy_latex(text: Text) -> str | None:
    """The LaTeX by sympy."""
    return rewritten(text.plain, in_latex_of_sympy)


def sympy_text(text: Text) -> str | None:
    """The text by sympy; None for an expression with e or i, which sympy writes as E and I."""
    value = text.structure
    if value is None or value[0] != "value" or re.search(r"'name', '(e|i|\w+_\w+|infty)'", repr(value)):
        return None
    try:
        return in_text_of_sympy(value[1])
    except (Unreadable, AttributeError):
        return None


def decimal(text: Text) -> str | None:
    """The decimal of a fraction; None if it has more than six digits."""
    number = text.number
    if number is None or number.denominator == 1 or 10**6 % number.denominator or "." in text.plain:
        return None
    return f"{float(number):.6f}".rstrip("0")


def repeating(text: Text) -> str | None:
    """The form 0.\\overline{...} of a fraction below 1 whose period has up to three digits."""
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
    r"""The text with a slash in place of each \frac."""
    number = text.number
    if number is None or "\\frac" not in text.plain or text.structure[1][0] == "mixed":
        return None
    return re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text.plain)


def mixed_number(template: str) -> Form:
    """The form of a fraction above 1 as a mixed number."""

    def form(text: Text) -> str | None:
        number = text.number
        if number is None or number.denominator == 1 or abs(number) < 1 or "." in text.plain:
            return None
        whole, part = divmod(abs(number), 1)
        return ("-" if number < 0 else "") + template.format(whole, part.numerator, part.denominator)

    return form


def thousands(separator: str) -> Form:
    """The form of an integer with separators of thousands."""

    def form(text: Text) -> str | None:
        if text.integer is None or abs(text.integer) < 1000 or text.plain.lstrip("-")[0] == "0":
            return None
        return f"{text.integer:,}".replace(",", separator)

    return form


def scientific(times: str) -> Form:
    """The form of a number such as 2.5e-19 with a power of ten."""

    def form(text: Text) -> str | None:
        match = re.fullmatch(r"(-?[0-9.]+)[eE]\+?(-?[0-9]+)", text.plain)
        return f"{match[1]}{times} 10^{{{match[2]}}}" if match else None

    return form


def zeros(text: Text) -> str | None:
    """The decimal with one more zero, or the integer with `.0`."""
    if text.number is None or "e" in text.plain:
        return None
    if re.fullmatch(r"-?[0-9]*\.[0-9]+", text.plain):
        return text.plain + "0"
    return f"{text.integer}.0" if text.integer is not None and text.plain[0] != "0" else None


def named_value(text: Text) -> str | None:
    """The value after `x =`; None for an expression with letters."""
    value = text.structure
    return f"x = {text.plain}" if value[0] == "value" and "'name'" not in repr(value) else None


def unicode_minus(text: Text) -> str | None:
    """The text with the minus sign of Unicode."""
    return text.plain.replace("-", "−") if "-" in text.plain and not re.search("[0-9]e-", text.plain) else None


def unicode_powers(text: Text) -> str | None:
    """The text with powers as superscripts of Unicode."""
    result = re.sub(r"(?<=[a-z0-9)])\^(?:\{(-?[0-9]+)\}|([0-9]))", _superscript, text.plain)
    return None if result == text.plain else result


def _superscript(match: re.Match[str]) -> str:
    return (match[1] or match[2]).translate(SUPERSCRIPTS)


def unicode_signs(text: Text) -> str | None:
    """The text with signs of Unicode in place of commands."""
    result = text.plain
    for command, sign in UNICODE.items():
        result = re.sub(re.escape(command) + "(?![A-Za-z])", sign, result)
    return None if result == text.plain else result


def unicode_roots(text: Text) -> str | None:
    """The text with root signs of Unicode."""
    result = re.sub(r"\\sqrt\s*\{([0-9]+)\}(?!\s*[0-9])", r"√\1", text.plain)
    return None if result == text.plain else result


def full_width(text: Text) -> str | None:
    """The number with full-width digits."""
    return text.plain.translate(FULL_WIDTH) if text.number is not None and "e" not in text.plain else None


def zero_width(text: Text) -> str | None:
    """The text with zero-width characters around its first character and at its end."""
    return None if text.plain.startswith("\\") else f"\u200b{text.plain[0]}\u200b{text.plain[1:]}\ufeff"


def word(template: str) -> Form:
    r"""The form of a reference answer that is a \text{word} in a template."""

    def form(text: Text) -> str | None:
        match = re.fullmatch(r"\\text\{([A-Za-z]+|\([A-Z]\))\}", text.plain)
        return template.format(match[1]) if match else None

    return form
