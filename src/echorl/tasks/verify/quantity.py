r"""Reader of one number with words, units, currency and marks around it: "It costs \$42.", "20 + 22 = 42 apples".

Two numbers without a true equation between them are not an answer, nor is a number that a word or a sign denies or
makes vague: "not 42", "43 or 42", "at least 42", "42?".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from echorl.tasks.verify.arithmetic import GAP, NUMBER, NotRational, decimal, evaluate
from echorl.tasks.verify.hedges import is_hedged
from echorl.tasks.verify.latex import ORDERS, SYNONYMS
from echorl.tasks.verify.reading import Replacements, plain_characters, replace_all

UNITS = frozenset("mgshlLJNVWCF")
"""Single letters that count as a unit behind a number. Any other letter is a variable: 42x is not a number."""

_ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan")
FUNCTIONS = frozenset(("sqrt", "log", "ln", "lg", "exp", *_ANGLES, "pi", "binom", "tbinom", "dbinom"))
"""Names whose expressions only math-verify can compare."""

_LAYOUT: Replacements = (
    (re.compile(r"</?[a-z]+>|`|(?<![0-9)\]}])\*\*|\*\*(?![0-9(])|__"), " "),  # marks of HTML and Markdown
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"^\s*\*\s"), " "),
    (re.compile(r"\{,\}|,\\[,!;: ](?=[0-9]{3})"), ","),
    (re.compile(r"\\!|\\(?:left|right|displaystyle|bf|rm|it|[bB]ig+)(?![A-Za-z])"), ""),
    (re.compile(r"\\(?:approx|simeq|cong)(?![A-Za-z])|^\s*~"), "≈"),
    (re.compile(r"[-=]>|\\(?:to|Rightarrow|rightarrow|implies|therefore)(?![A-Za-z])"), f" {GAP} "),
    (re.compile(r"\\[\]()\[,;: ]|~|\\q?quad(?![A-Za-z])|[\s]+"), " "),
    (re.compile(r"(?<=[0-9)}]) ?[xX] ?(?=[0-9.($\\])|(?<=[a-z]) [xX] (?=[$0-9])"), "*"),
    (re.compile(r"\^ ?(?:\{ ?\\circ ?\}|\\circ)|\\(?:degree|circ)(?![A-Za-z])"), f" {GAP} "),
    (re.compile(r"\\([%$])"), r"\1"),
    (re.compile(r"(?<=[0-9)}]) ?(?:per ?cent|percentage points?)\b", re.IGNORECASE), "%"),
    (re.compile(r"\b(?:negative|minus) (?=[$€£]?[0-9])", re.IGNORECASE), "-"),
    (re.compile(r"\\?\bsqrt ?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"  +"), " "),
)
_WRAPPED = re.compile(r"\\(?:text[a-z]*|math[a-z]+|mbox|boxed|fbox|emph|underline|boldsymbol) ?\{([^{}]*)\}")

_WORDS_IN_BRACKETS = re.compile(r"[(\[][^\W\d_]{2,}[^()\[\]0-9\\=+*/^%]*[)\]]")
_NAME = r"[^\W\d_](?:_ ?(?:\{[A-Za-z0-9 ,]*\}|[A-Za-z0-9])|\((?:[A-Za-z0-9 ,.]{1,10})\))+(?= ?[=≈])"
_PIECE = re.compile(
    rf"(?P<number>{NUMBER})|(?P<name>{_NAME})|(?P<command>\\[A-Za-z]+)"
    r"|(?P<word>(?:(?<=[0-9])-|/ ?)?(?P<letters>[^\W\d_]+(?:[-'.][^\W\d_]+)*)"
    r"(?P<power>\^ ?(?:\{[23]\}|[23])|[23](?![0-9]))?)"
    r"|(?P<mark>(?<=[^\W\d_])!|\.(?![0-9])|[$€£¥₹₩¢,:;\"'✅✔✓☑∴])|(?P<operator>[-+*/^!%()\[\]{} =≈§])"
)
_PERCENT = re.compile(rf"(?P<minus>-)? ?(?P<number>{NUMBER})[ §]*%")
_PLACES = re.compile(r"-?[0-9, ]*(?:\.([0-9]*))?")
_CURRENCY = frozenset(("USD", "EUR", "GBP", "INR", "CAD", "AUD", "US", "Rs"))
_OPEN: frozenset[Fraction] = frozenset()

VALUE_ENDS = tuple("0123456789)}]%")


@dataclass(frozen=True)
class Quantity:
    """The number in an answer: its possible values, or expressions that only math-verify can compare.

    Attributes:
        values: the value; for "42 %" both 42 and 0.42. Empty where only math-verify can compare `sides`.
        sides: the sides of the equation in LaTeX, one without an equation; the last one is the answer.
    """

    values: frozenset[Fraction]
    sides: tuple[str, ...]


def read_quantity(answer: str) -> Quantity | None:
    """The single number of an answer; None if it has no number or several, or if the number is denied or vague.

    The caller limits the length of the answer.

    >>> [print(*read_quantity(text).values) for text in ("20 + 22 = $42", "x = 3 1/2 cups")]
    42
    7/2
    [None, None]
    >>> read_quantity("43 = 42"), read_quantity("42 or 43"), read_quantity("about")
    (None, None, None)
    """
    text = _without_layout(plain_characters(answer))
    if is_hedged(text):
        return None
    equation = _without_words(_WORDS_IN_BRACKETS.sub(f" {GAP} ", text))
    if equation is None:
        return None
    sides = [side for side in (part.strip(f" {GAP}") for part in re.split("[=≈]+", equation)) if side]
    values = [value for side in sides if (value := _values(side)) is not None]
    if not sides or len(values) < len(sides):
        return None
    if _OPEN in values:
        return None if any(GAP in side for side in sides) else Quantity(frozenset(), tuple(sides))
    rounded = "≈" in equation
    true = all(_same(values[i], values[i + 1], sides[i + 1], rounded) for i in range(len(sides) - 1))
    return Quantity(values[-1], tuple(sides)) if true else None


def _without_layout(text: str) -> str:
    while (unwrapped := _WRAPPED.sub(r" \1 ", text)) != text:
        text = unwrapped
    return replace_all(text, _LAYOUT).strip()


def _without_words(text: str) -> str | None:
    """The text with a gap for each word, name, mark or currency; None if the remaining text is not arithmetic."""
    pieces: list[str] = []
    position = 0
    while position < len(text):
        match = _PIECE.match(text, position)
        piece = _piece(match) if match else None
        if match is None or piece is None:
            return None
        pieces.append(piece)
        position = match.end()
    return "".join(pieces)


def _piece(match: re.Match[str]) -> str | None:
    if match["number"] or match["operator"]:
        return match[0]
    if match["command"]:
        return _command(match[0][1:])
    return _word(match) if match["word"] else GAP


def _command(name: str) -> str | None:
    """A function, a fraction or a sign of arithmetic; None for any other command."""
    meaning = SYNONYMS.get(name, name)
    if meaning in ("*", "/"):
        return meaning
    return f"\\{meaning}" if name in FUNCTIONS or meaning == "frac" else None


def _word(match: re.Match[str]) -> str | None:
    """A gap, a factor for "thousand", or a function; None for a variable and for letters in front of a digit."""
    letters, behind = match["letters"], match.string[match.end() :]
    before = match.string[: match.start()]
    is_unit = before.rstrip()[-1:] in VALUE_ENDS or match["word"].startswith("/")
    if letters in FUNCTIONS:
        return f"\\{letters} "
    if is_unit and letters.lower() in ORDERS:
        return f"*{ORDERS[letters.lower()]}"
    if behind[:1].isdigit() or behind[:1] == "^" or (match["power"] and not is_unit):
        return GAP if letters in _CURRENCY else None
    if len(letters) > 1 or (letters in "aAI" and before[-1:] not in VALUE_ENDS):
        return GAP
    if is_unit:
        return GAP if letters in UNITS else None
    return GAP if re.match(r"\s*(?:[=≈:]|is\b|$)", behind) else None


def _values(side: str) -> frozenset[Fraction] | None:
    """The values of one side; None if it has none."""
    if percent := _PERCENT.fullmatch(side):
        value = (-1 if percent["minus"] else 1) * decimal(percent["number"])
        return frozenset({value, value / 100})
    try:
        number = evaluate(side)
    except NotRational:
        return _OPEN
    return None if number is None else frozenset({number})


def _same(left: frozenset[Fraction], right: frozenset[Fraction], right_text: str, rounded: bool) -> bool:
    """Return whether two sides share a value, or the right one is the left one rounded to two decimals or more."""
    places = _PLACES.fullmatch(right_text)
    num_places = len(places[1] or "") if places else 0
    if left & right or not places or (num_places < 2 and not rounded):
        return bool(left & right)
    return any(abs(a - b) <= Fraction(1, 2 * 10**num_places) for a in left for b in right)
